"""A training by transformers' Trainer as a trial: the callback is all that tuning adds.

The model is a small BERT made from its configuration and the text is made up, so nothing is downloaded.
Run it by hand (`python examples/transformers_trainer.py`) or as a tuning job
(`tuning run examples/transformers_trainer.yaml`).
"""

import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

from tuning_trainer.integrations.transformers import TuningCallback

WORDS, LENGTH = 100, 16


def sentences(count: int, seed: int) -> list[dict[str, torch.Tensor]]:
    """Return sentences of random words, labelled by whether word 7 occurs."""
    chance = torch.Generator().manual_seed(seed)
    words = torch.randint(8, WORDS, (count, LENGTH), generator=chance)
    words[torch.arange(0, count, 2), torch.randint(LENGTH, (count // 2,), generator=chance)] = 7
    return [{"input_ids": one, "labels": (one == 7).any().long()} for one in words]


def main() -> None:
    """Train for 100 steps."""
    callback = TuningCallback()
    chosen = callback.trial.parameters
    set_seed(callback.trial.seed)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=WORDS, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            hidden_dropout_prob=chosen.get("dropout", 0.1), max_position_embeddings=LENGTH, num_labels=2,
        )
    )  # fmt: skip
    arguments = TrainingArguments(
        output_dir=callback.trial.checkpoint_uri or tempfile.mkdtemp(),
        learning_rate=chosen.get("lr", 1e-3),
        lr_scheduler_type="constant",
        per_device_train_batch_size=32,
        per_device_eval_batch_size=256,
        max_steps=100,
        logging_steps=5,
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=10,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    Trainer(
        model=model,
        args=arguments,
        train_dataset=sentences(1024, seed=3),
        eval_dataset=sentences(256, seed=4),
        callbacks=[callback],
    ).train()


if __name__ == "__main__":
    main()
