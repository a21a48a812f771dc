"""What a trial is told at its start, as environment variables.

The operator renders a `TrialEnvironment`, the client parses it back; one class for both directions keeps them equal.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from trial_protocol import names
from trial_protocol.errors import ProtocolError


@dataclass(frozen=True, kw_only=True)
class TrialEnvironment:
    """One attempt of one trial, as its process sees it.

    Attributes:
        identity: What tells this trial from all others whose messages are signed with the same key: names repeat over
            namespaces and after a job was deleted. Empty where the name alone does.
        attempt: Which start of the trial this is, where the platform counts starts. All pods of a Job start with the
            same environment, so there it stays 1, and the operator counts the pods.
        total: Length of the planned schedule on the axis, in units of `axis` (steps, tokens, samples, seconds).
        port: Where the trial serves; 0 lets the system choose (the client then writes the port to its standard
            output as ``tuning: serving on port N``).
        control: Token of the newest control message at start, so that a restarted trial begins steered; may be empty.
        public_key: PEM of the Ed25519 key that control messages are signed with; without it `PUT /control` is refused.
        termination_path: File that receives the final result as JSON, at most 4 KiB.
    """

    job: str
    trial: str
    identity: str = ""
    attempt: int = 1
    parameters: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0
    port: int = 0
    axis: str = names.METRIC_STEP
    total: float | None = None
    checkpoint_uri: str = ""
    control: str = ""
    public_key: str = ""
    termination_path: str = names.DEFAULT_TERMINATION_PATH

    @property
    def audience(self) -> str:
        """Return whom control messages for this trial are addressed to."""
        return self.identity or self.trial

    def variables(self) -> dict[str, str]:
        """Return the environment variables, ``TUNING_PARAM_<NAME>`` for plain commands among them."""
        rendered = {
            names.ENV_JOB: self.job,
            names.ENV_TRIAL: self.trial,
            names.ENV_IDENTITY: self.identity,
            names.ENV_ATTEMPT: str(self.attempt),
            names.ENV_PARAMETERS: json.dumps(dict(self.parameters), sort_keys=True),
            names.ENV_SEED: str(self.seed),
            names.ENV_PORT: str(self.port),
            names.ENV_AXIS: self.axis,
            names.ENV_CHECKPOINT_URI: self.checkpoint_uri,
            names.ENV_CONTROL: self.control,
            names.ENV_PUBLIC_KEY: self.public_key,
            names.ENV_TERMINATION_PATH: self.termination_path,
        }
        if self.total is not None:
            rendered[names.ENV_TOTAL] = repr(self.total)
        for name, value in self.parameters.items():
            rendered[parameter_variable(name)] = value if isinstance(value, str) else json.dumps(value)
        return rendered

    @classmethod
    def from_variables(cls, variables: Mapping[str, str]) -> TrialEnvironment | None:
        """Parse what `variables` wrote; None outside a tuning job (no ``TUNING_TRIAL``).

        Raises:
            ProtocolError: A variable is there but cannot be read; the text names it.
        """
        if not variables.get(names.ENV_TRIAL):
            return None
        total = variables.get(names.ENV_TOTAL)
        return cls(
            job=variables.get(names.ENV_JOB, ""),
            trial=variables[names.ENV_TRIAL],
            identity=variables.get(names.ENV_IDENTITY, ""),
            attempt=_integer(variables, names.ENV_ATTEMPT, 1),
            parameters=_parameters(variables.get(names.ENV_PARAMETERS) or "{}"),
            seed=_integer(variables, names.ENV_SEED, 0),
            port=_integer(variables, names.ENV_PORT, 0),
            axis=variables.get(names.ENV_AXIS) or names.METRIC_STEP,
            total=_length(names.ENV_TOTAL, total) if total else None,
            checkpoint_uri=variables.get(names.ENV_CHECKPOINT_URI, ""),
            control=variables.get(names.ENV_CONTROL, ""),
            public_key=variables.get(names.ENV_PUBLIC_KEY, ""),
            termination_path=variables.get(names.ENV_TERMINATION_PATH) or names.DEFAULT_TERMINATION_PATH,
        )


def parameter_variable(name: str) -> str:
    """Return the variable that carries one parameter: ``lr`` becomes ``TUNING_PARAM_LR``."""
    return names.ENV_PARAMETER_PREFIX + re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def _integer(variables: Mapping[str, str], name: str, default: int) -> int:
    text = variables.get(name) or str(default)
    try:
        return int(text)
    except ValueError:
        raise ProtocolError(f"{name} must be a whole number; it is {text!r}") from None


def _length(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.0 < number < math.inf:
        raise ProtocolError(f"{name} must be a number greater than 0; it is {text!r}")
    return number


def _parameters(text: str) -> dict[str, object]:
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise ProtocolError(f"{names.ENV_PARAMETERS} must be a JSON object: {error}") from None
    if not isinstance(parsed, dict):
        raise ProtocolError(f"{names.ENV_PARAMETERS} must be a JSON object; it is {text[:80]!r}")
    return parsed
