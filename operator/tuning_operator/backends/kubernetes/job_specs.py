"""What TuningJobs ask of their trials' Jobs: specs, parsed once a generation, and the labels that are passed on."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from pydantic import ValidationError

from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.reflector import Change, Key, Reflector
from tuning_operator.backends.kubernetes.resources import Object, key_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Parsed:
    """A TuningJob's spec as it was parsed."""

    uid: str
    generation: int
    spec: TuningJobSpec | None


class JobSpecs:
    """Reads a cache of TuningJobs."""

    def __init__(self, tuning_jobs: Reflector) -> None:
        self._tuning_jobs = tuning_jobs
        self._parsed: dict[Key, _Parsed] = {}

    def hear(self, change: Change, body: Object) -> bool:
        """Take in a change, and return whether it concerns the trials: most often only the status did."""
        key = key_of(body)
        known = self._parsed.get(key)
        if change is Change.DELETED:
            self._parsed.pop(key, None)
            return True
        return known is None or _identity(body) != (known.uid, known.generation)

    def of(self, trial: Object) -> TuningJobSpec | None:
        """Return the spec that a Trial belongs to; None while its TuningJob is not there, is going, or is not valid."""
        key = (trial["metadata"]["namespace"], trial["spec"]["job"])
        body = self._tuning_jobs.get(*key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return None
        uid, generation = _identity(body)
        known = self._parsed.get(key)
        if known is None or (known.uid, known.generation) != (uid, generation):
            try:
                spec = TuningJobSpec.model_validate(body["spec"])
            except ValidationError as error:
                _log.warning("TuningJob %s/%s is not valid: %s", *key, error)
                spec = None
            known = self._parsed[key] = _Parsed(uid=uid, generation=generation, spec=spec)
        return known.spec

    def labels_for(self, trial: Object) -> dict[str, str]:
        """Return the labels of a Trial's TuningJob that its Job gets too."""
        body = self._tuning_jobs.get(trial["metadata"]["namespace"], trial["spec"]["job"])
        found = (body or {}).get("metadata", {}).get("labels") or {}
        return {name: found[name] for name in labels.PASSED_LABELS if name in found}


def _identity(body: Object) -> tuple[str, int]:
    return body["metadata"]["uid"], body["metadata"].get("generation", 0)
