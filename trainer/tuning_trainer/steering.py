"""What the operator asks for, agreed on by every rank at the same step boundary.

The first rank hears the operator. Whatever arrives there, and a SIGTERM or a lost patience on any rank, is put into
one small vector whose maximum over the ranks all of them see before the next step; so no rank is ever a step ahead of
another in what it obeys. With one rank nothing is exchanged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from trial_protocol.control import ControlMessage
from trial_protocol.history import HistoryRecord
from tuning_trainer.ranks import Ranks


class TrialLink(Protocol):
    """What the loop needs of its trial; `tuning_trainer.client.Trial` is one."""

    @property
    def active(self) -> bool:
        """Whether an operator may be listening."""

    @property
    def should_stop(self) -> bool:
        """Whether SIGTERM was seen."""

    @property
    def control(self) -> ControlMessage | None:
        """The message in force."""

    @property
    def history(self) -> list[HistoryRecord]:
        """Every evaluation so far."""

    def restore_history(self, records: Iterable[HistoryRecord]) -> None:
        """Put the evaluations of a checkpoint in front."""

    def restore_control(self, message: ControlMessage) -> None:
        """Put the message of a checkpoint in force."""

    def poll(self, *, step: int) -> ControlMessage | None:
        """Hand out a newly arrived message, once."""

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
        """Count one training step."""

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
        """Say the values of one evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What is to be done at one step boundary.

    Attributes:
        changed: A new control message is in force; the next three come from it.
        scale: Factor of the learning rate now wanted.
        begin_decay: Start the final decay here.
        restore: Go back to the last good checkpoint first.
        stop: The process was asked to end.
        give_up: Some rank has waited long enough for a restore.
    """

    changed: bool = False
    scale: float = 1.0
    begin_decay: bool = False
    restore: bool = False
    stop: bool = False
    give_up: bool = False


_NONE = Orders()


def next_orders(trial: TrialLink, ranks: Ranks, *, step: int, give_up: bool) -> Orders:
    """Return what every rank does before step number `step`; a collective call when there are several."""
    message = trial.poll(step=step) if ranks.is_first else None
    if message is None and not ranks.several:
        return Orders(stop=trial.should_stop, give_up=give_up) if trial.should_stop or give_up else _NONE
    mine = [0.0, -1.0, 0.0, 0.0, float(trial.should_stop), float(give_up)]
    if message is not None:
        mine[:4] = [1.0, message.learning_rate_scale, float(message.begin_decay), float(message.restore)]
    changed, scale, begin_decay, restore, stop, lost_patience = ranks.largest(mine)
    return Orders(
        changed=changed > 0,
        scale=scale if changed > 0 else 1.0,
        begin_decay=begin_decay > 0,
        restore=restore > 0,
        stop=stop > 0,
        give_up=lost_patience > 0,
    )
