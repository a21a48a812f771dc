"""A Lightning training as a trial: the callback is all that tuning adds.

By hand: `python examples/lightning_trainer.py`; as a tuning job: `tuning run examples/lightning_trainer.yaml`.
"""

import lightning
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

from tuning_trainer.integrations.lightning import TuningCallback


class Digits(lightning.LightningModule):
    """Two layers on scikit-learn's handwritten digits."""

    def __init__(self, rate: float, width: int) -> None:
        super().__init__()
        self.rate = rate
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, 10))

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        """Return the loss of one batch."""
        return torch.nn.functional.cross_entropy(self.layers(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        """Log what the tuning job's objective names."""
        self.log("eval_loss", torch.nn.functional.cross_entropy(self.layers(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer; the callback steers it."""
        return torch.optim.AdamW(self.parameters(), lr=self.rate)


def main() -> None:
    """Train for ten epochs."""
    callback = TuningCallback()
    chosen = callback.trial.parameters
    lightning.seed_everything(callback.trial.seed)
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels))
    train, validation = random_split(data, [1408, len(data) - 1408])
    trainer = lightning.Trainer(
        callbacks=[callback],
        max_epochs=10,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
    )
    trainer.fit(
        Digits(rate=chosen.get("lr", 1e-3), width=chosen.get("width", 32)),
        DataLoader(train, batch_size=64, shuffle=True),
        DataLoader(validation, batch_size=256),
    )


if __name__ == "__main__":
    main()
