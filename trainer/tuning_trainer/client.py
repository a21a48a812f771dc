"""The client: what a training loop calls so that it can be watched and steered.

Outside a tuning job every call works and does nothing, so a training script needs no second version of itself.
"""

from __future__ import annotations

import atexit
import math
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from trial_protocol import names
from trial_protocol.control import ControlMessage
from trial_protocol.environment import TrialEnvironment
from trial_protocol.errors import ControlRefused, ProtocolError, TuningError
from trial_protocol.history import HistoryRecord
from trial_protocol.result import Outcome, TrialResult
from tuning_trainer.controls import Controls
from tuning_trainer.evaluations import Evaluations
from tuning_trainer.exposition import Standing
from tuning_trainer.outcome import outcome_of, write_termination_message
from tuning_trainer.schedules import Schedule
from tuning_trainer.server import TrialServer
from tuning_trainer.state import TrialState
from tuning_trainer.termination import Termination

_CONSTANT: Final = Schedule()
_LAST_EVALUATIONS: Final = 100
"""More than a result has room for."""
_METRIC_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def start(*, variables: Mapping[str, str] | None = None, rank: int | None = None) -> Trial:
    """Connect this process to the tuning job that started it.

    Args:
        variables: Environment to read; the process's own by default.
        rank: Of this process in a distributed training, by default ``RANK`` or 0. Only rank 0 serves and reports;
            the others know their parameters and follow by `Trial.restore_control`.

    Raises:
        ProtocolError: A variable of the tuning job cannot be read, or its port cannot be had; the text names it.
    """
    variables = os.environ if variables is None else variables
    environment = TrialEnvironment.from_variables(variables)
    if environment is None:
        sys.stderr.write("tuning: not in a tuning job; nothing is reported\n")
        return Trial(None)
    if rank is None:
        rank = _rank(variables.get("RANK") or "0")
    return Trial(environment, serve=rank == 0)


class Trial:
    """One attempt of one trial, seen from inside its training process.

    Use it as a context manager and the result is written at the end whatever happens; without one it is written when
    the interpreter exits.

    Args:
        environment: What the operator told; None outside a tuning job.
        serve: Whether to answer scrapes and take control messages; False on all ranks but the first.
        clock: Seconds since the epoch.
        monotonic: Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        environment: TrialEnvironment | None,
        *,
        serve: bool = True,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environment = environment or TrialEnvironment(job="", trial="")
        self._clock = clock
        self._reports = environment is not None and serve
        self._state = TrialState(monotonic=monotonic)
        self._controls = Controls(trial=self._environment.audience, public_key=self._environment.public_key)
        self._evaluations = Evaluations(life=int(clock() * 1000))
        self._newest: deque[HistoryRecord] = deque(maxlen=_LAST_EVALUATIONS)
        self._termination = Termination()
        self._server: TrialServer | None = None
        self._loop_polls = False
        self._decay_from: float | None = None
        self._finished = False
        self.active: Final = environment is not None
        if self._reports:
            self._receive_initial_control()
            self._server = TrialServer(
                port=self._environment.port,
                state=self._state,
                evaluations=self._evaluations,
                controls=self._controls,
                standing=self._standing,
                clock=clock,
            )
            if self._environment.port == 0:
                sys.stdout.write(f"{names.ANNOUNCEMENT} {self._server.port}\n")
                sys.stdout.flush()
            atexit.register(self._finish_at_exit)
        if self.active:
            self._termination.watch()

    @property
    def parameters(self) -> dict[str, Any]:
        """The hyperparameters to train with; empty outside a tuning job."""
        return dict(self._environment.parameters)

    @property
    def job(self) -> str:
        """Name of the tuning job."""
        return self._environment.job

    @property
    def name(self) -> str:
        """Name of the trial."""
        return self._environment.trial

    @property
    def seed(self) -> int:
        """Seed of this trial."""
        return self._environment.seed

    @property
    def attempt(self) -> int:
        """Which start of the trial this is, from 1."""
        return self._environment.attempt

    @property
    def axis(self) -> str:
        """What the schedule is counted in: ``train_step``, ``train_tokens``, ..."""
        return self._environment.axis

    @property
    def total(self) -> float | None:
        """Planned length of the schedule on the axis; None if it is not known."""
        return self._environment.total

    @property
    def checkpoint_uri(self) -> str:
        """Where checkpoints belong; empty if nowhere."""
        return self._environment.checkpoint_uri

    @property
    def port(self) -> int | None:
        """Where this trial answers; None if it does not."""
        return self._server.port if self._server else None

    @property
    def should_stop(self) -> bool:
        """Whether the process was asked to end (SIGTERM): write a checkpoint and finish as interrupted."""
        return self._termination.requested

    @property
    def control(self) -> ControlMessage | None:
        """The control message in force, to be kept in checkpoints; None before the first."""
        return self._controls.in_force

    @property
    def learning_rate_scale(self) -> float:
        """Factor on the schedule's own learning rate: the one set by the operator, times the final decay once begun."""
        in_force = self._controls.in_force
        return in_force.learning_rate_scale * self._final_decay() if in_force else 1.0

    @property
    def history(self) -> list[HistoryRecord]:
        """Every evaluation so far, earlier attempts among them, oldest first; to be kept in checkpoints."""
        return self._evaluations.all()

    def record_step(
        self,
        *,
        step: int,
        loss: float,
        gradient_norm: float | None = None,
        learning_rate: float | None = None,
        tokens: float | None = None,
        samples: float | None = None,
    ) -> None:
        """Tell of one training step; costs a few microseconds. Any loss is welcome, NaN too.

        A loss on an accelerator costs a synchronisation before it is a float: the loop decides how often to pay it.
        """
        if self._reports:
            self._state.record_step(step, loss, gradient_norm, learning_rate, tokens, samples)

    def report(
        self,
        *,
        step: int,
        tokens: float | None = None,
        samples: float | None = None,
        epochs: float | None = None,
        learning_rate: float | None = None,
        **metrics: float,
    ) -> None:
        """Report one evaluation: ``trial.report(step=200, eval_loss=0.3, learning_rate=1e-3)``.

        A loop that never calls `poll` has new control messages put in force here, and follows by
        `learning_rate_scale`.

        Raises:
            ProtocolError: A metric's name cannot be exported, or its value is not a number; the text names it.
        """
        values = {_checked_name(name): _number(name, value) for name, value in metrics.items()}
        if not self._reports:
            return
        counters = {names.METRIC_TOKENS: tokens, names.METRIC_SAMPLES: samples, names.METRIC_EPOCHS: epochs}
        known = {name: float(value) for name, value in counters.items() if value is not None}
        now = self._clock()
        record_values, rate = self._state.report(
            step=step, time=now, counters=known, values=values, learning_rate=learning_rate
        )
        record = HistoryRecord(
            step=step,
            attempt=self.attempt,
            time=now,
            values=record_values,
            learning_rate=rate,
            revision=self._revision,
        )
        self._evaluations.append(record)
        self._newest.append(record)
        if not self._loop_polls:
            self._apply(step)

    def poll(self, *, step: int) -> ControlMessage | None:
        """Put a newly arrived control message in force and hand it out, exactly once; None most of the time.

        Call it at a step boundary, on the first rank; what it returns is to be followed by all ranks at that step.
        """
        self._loop_polls = True
        self._apply(step)
        return self._controls.deliver()

    def restore_control(self, message: ControlMessage) -> None:
        """Put a checkpoint's control message (or the first rank's) in force; an older one than that in force is not."""
        self._controls.restore(message)
        self._note_decay()

    def restore_history(self, records: Iterable[HistoryRecord]) -> None:
        """Put a checkpoint's evaluations in front, so that a restarted trial still answers with all of them."""
        if not self._reports:
            return
        records = list(records)
        self._evaluations.restore(records)
        if records:
            self._state.restore(records[-1])

    def finish(
        self,
        outcome: Outcome | str,
        *,
        values: Mapping[str, float] | None = None,
        checkpoint: str = "",
        message: str = "",
    ) -> None:
        """Write the final result to the termination message; values are the newest reported ones by default.

        The trial goes on answering until its process ends, so that a last scrape finds it.

        Raises:
            ValueError: `outcome` is not one of `Outcome`; its words are accepted too.
        """
        outcome = Outcome(outcome)
        if not self._reports:
            return
        self._finished = True
        snapshot = self._state.snapshot(scraper=None)
        if values is None:
            values = {name: newest.value for name, newest in snapshot.values.items()}
        result = TrialResult(
            outcome=outcome,
            step=int(snapshot.counters[names.METRIC_STEP]),
            attempt=self.attempt,
            values=values,
            checkpoint=checkpoint,
            message=message,
            revision=self._revision,
            history=tuple(self._newest),
        )
        try:
            write_termination_message(self._environment.termination_path, result)
        except (OSError, TuningError) as error:
            sys.stderr.write(
                f"tuning: the result could not be written to {self._environment.termination_path}: {error}\n"
            )

    def close(self) -> None:
        """Stop answering and give SIGTERM back; only needed where a process outlives its trial."""
        self._termination.release()
        if self._server is not None:
            atexit.unregister(self._finish_at_exit)
            self._server.close()
            self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._finished:
            outcome, message = outcome_of(error, stopping=self.should_stop)
            self.finish(outcome, message=message)
        self.close()

    @property
    def _revision(self) -> int:
        in_force = self._controls.in_force
        return in_force.revision if in_force else 0

    def _standing(self, counters: Mapping[str, float]) -> Standing:
        in_force = self._controls.in_force
        return Standing(
            attempt=self.attempt,
            revision=in_force.revision if in_force else 0,
            learning_rate_scale=in_force.learning_rate_scale if in_force else 1.0,
            fraction=self._fraction(counters.get(self.axis)),
            axis=self.axis,
        )

    def _fraction(self, position: float | None) -> float | None:
        return None if position is None or not self.total else position / self.total

    def _note_decay(self) -> None:
        """Remember where the final decay begins; a loop with a schedule of its own sees to that itself."""
        in_force = self._controls.in_force
        if in_force is None or not in_force.begin_decay:
            self._decay_from = None
        elif self._decay_from is None:
            self._decay_from = self._fraction(self._state.position(self.axis))

    def _final_decay(self) -> float:
        fraction = self._fraction(self._state.position(self.axis)) if self._decay_from is not None else None
        return 1.0 if fraction is None else _CONSTANT.factor(min(fraction, 1.0), decay_from=self._decay_from)

    def _apply(self, step: int) -> None:
        if (applied := self._controls.apply()) is not None:
            self._note_decay()
            sys.stdout.write(
                f"tuning: control revision {applied.revision} in force from step {step}: "
                f"learning rate scale {applied.learning_rate_scale:g}\n"
            )

    def _receive_initial_control(self) -> None:
        if self._environment.control:
            try:
                self._controls.receive(self._environment.control, now=None)
            except ControlRefused as error:
                sys.stderr.write(f"tuning: {names.ENV_CONTROL} was not applied: {error}\n")

    def _finish_at_exit(self) -> None:
        if not self._finished:
            outcome, message = outcome_of(getattr(sys, "last_value", None), stopping=self.should_stop)
            self.finish(outcome, message=message)


def _rank(text: str) -> int:
    if not text.isdecimal():
        raise ProtocolError(f"RANK must be a whole number from 0; it is {text!r}")
    return int(text)


def _checked_name(name: str) -> str:
    if not _METRIC_NAME.fullmatch(name):
        raise ProtocolError(f"metric {name!r} must consist of letters, digits and _ and not begin with a digit")
    if name.startswith("tuning_") or name in names.COUNTERS:
        raise ProtocolError(f"metric {name!r} is a name that the client itself exports; choose another")
    return name


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        raise ProtocolError(f"metric {name!r} must be a number; it is {value!r:.80}") from None
