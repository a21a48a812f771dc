import dataclasses

import pytest

from trial_protocol.errors import ConfigurationError
from tuning_trainer.settings import TrainingSettings, differences, parse
from tuning_trainer.tasks.bytes import BytesSettings
from tuning_trainer.tasks.digits import DigitsSettings


def test_numbers_may_come_as_words_and_whole_floats() -> None:
    settings = parse(DigitsSettings, {"lr": "1e-2", "width": 32.0, "augment": "true", "optimizer": "sgd"})
    assert (settings.lr, settings.width, settings.augment, settings.optimizer) == (0.01, 32, True, "sgd")
    assert isinstance(settings.width, int)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"optimizer": "adamww"}, "Did you mean 'adamw'?"),
        ({"learning_rate": 0.1}, "There is no parameter 'learning_rate'"),
        ({"batchsize": 32}, "did you mean 'batch_size'?"),
        ({"lr": 0}, "lr must be greater than 0; it is 0."),
        ({"lr": -0.1}, "lr must be greater than 0"),
        ({"lr": "nan"}, "lr must be a number"),
        ({"lr": "fast"}, "lr must be a number; it is 'fast'."),
        ({"width": 32.5}, "width must be a whole number; it is 32.5."),
        ({"width": True}, "width must be a whole number"),
        ({"momentum": 1.0}, "momentum must be less than 1"),
        ({"floor": 1.5}, "floor must be at most 1"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"augment": "perhaps"}, "augment must be true or false"),
        ({"schedule": 3}, "schedule must be a word"),
    ],
)
def test_what_cannot_work_is_refused_with_the_name_and_the_fix(parameters: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(DigitsSettings, parameters)
    assert sentence in str(caught.value)


def test_width_must_be_a_multiple_of_heads() -> None:
    with pytest.raises(ConfigurationError, match="width must be a multiple of heads; 100 is none of 8, 96 would be"):
        parse(BytesSettings, {"width": 100, "heads": 8})


def test_a_checkpoint_is_compared_by_what_changes_the_training() -> None:
    settings = TrainingSettings()
    assert differences(settings, dataclasses.asdict(settings)) == []
    assert differences(settings, {**dataclasses.asdict(settings), "eval_every": 7, "lr": 9.0}) == ["lr"]
