"""A trainer that can be watched and steered while it trains, and the small client that any other loop can use.

Five lines make a plain loop a trial::

    import tuning_trainer
    with tuning_trainer.start() as trial:
        rate = trial.parameters.get("lr", 0.1)
        for step in range(1, 101):
            loss = train(learning_rate=rate * trial.learning_rate_scale)
            trial.report(step=step, eval_loss=loss)

Importing it imports neither torch nor anything else that takes long; `start` does what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuning_trainer.client import Trial, start

__all__ = ["Trial", "start"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tuning_trainer import client

    return getattr(client, name)
