"""A training loop of your own as a trial: softmax regression in plain NumPy, steered through five lines.

Run it by hand (`python examples/own_trainer.py`) or as a tuning job (`tuning run examples/own_trainer.yaml`).
"""

import numpy as np
from sklearn.datasets import load_digits

import tuning_trainer

STEPS, EVERY = 300, 10

images, labels = load_digits(return_X_y=True)
images, targets = images / 16.0, np.eye(10)[labels]
train, test = slice(0, 1400), slice(1400, None)

trial = tuning_trainer.start()
rate = float(trial.parameters.get("lr", 0.5))
decay = float(trial.parameters.get("weight_decay", 1e-4))
batches = np.random.default_rng(trial.seed)
weights = np.zeros((64, 10))


def cross_entropy(part: slice | np.ndarray) -> tuple[float, np.ndarray]:
    """Return the loss over some of the images, and its gradient."""
    scores = images[part] @ weights
    scores -= scores.max(axis=1, keepdims=True)
    likely = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(likely[targets[part] == 1] + 1e-12))
    return float(loss), images[part].T @ (likely - targets[part]) / len(likely)


for step in range(1, STEPS + 1):
    loss, gradient = cross_entropy(batches.integers(0, 1400, 64))
    weights -= rate * trial.learning_rate_scale * (gradient + decay * weights)
    trial.record_step(step=step, loss=loss, learning_rate=rate * trial.learning_rate_scale)
    if step % EVERY == 0:
        trial.report(step=step, eval_loss=cross_entropy(test)[0])
    if trial.should_stop:
        break

print(f"eval_loss {cross_entropy(test)[0]:.4f} after {step} steps")
