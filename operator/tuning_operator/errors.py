"""What the operator and the command line raise; the tree's root is `trial_protocol.errors.TuningError`.

TuningError
 ├─ ManifestError          a manifest with mistakes: all of them, each with its path and its fix
 ├─ SchemaError            a model that Kubernetes could not serve, found when CRDs are generated
 ├─ SearchSpaceExhausted   every configuration of a finite space has been proposed
 ├─ SamplerUnavailable     a search algorithm whose library is not installed here
 ├─ LogError               a recorded run that cannot be read or does not belong to this job
 ├─ ScrapeError            a trial's answer that could not be had or read
 └─ BackendError           trials cannot be run here, with the reason
"""

from __future__ import annotations

from trial_protocol.errors import TuningError


class SchemaError(TuningError):
    """A model has no structural schema; the text names the place and the fix."""


class SearchSpaceExhausted(TuningError):
    """Every configuration of a finite search space has been proposed already."""


class SamplerUnavailable(TuningError):
    """The search algorithm needs a library that is not installed here."""


class LogError(TuningError):
    """A recorded run cannot be read, or belongs to another job."""


class ScrapeError(TuningError):
    """A trial's answer could not be had or read."""


class BackendError(TuningError):
    """Trials cannot be run here."""


__all__ = ["BackendError", "LogError", "SchemaError", "ScrapeError", "SearchSpaceExhausted", "TuningError"]
