"""Curves and studies for tests, written as plain lists, and hypothesis strategies for them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence

from hypothesis import settings
from hypothesis import strategies as st

from tuning_operator.curves.curve import Curve
from tuning_operator.curves.marks import MARKS, MarkValue, Observation, Pulse
from tuning_operator.curves.recorder import MarkRecorder
from tuning_operator.curves.study import StudyCurves

TOTAL = 1000.0

losses = st.floats(-1e6, 1e6)
broken_losses = losses | st.sampled_from([math.nan, math.inf, -math.inf])


def drawn(*, seed: int, length: int, broken: bool = False) -> list[float]:
    """Values of a curve that falls, rises, wanders or stays, at any level and scale; `broken` adds NaN and infinity."""
    draws = random.Random(seed)
    level, scale = draws.choice([0.0, 1.0, -5.0, 1e6]), draws.choice([0.0, 1e-9, 0.1, 1.0, 1e6])
    slope, noise = draws.choice([-1.0, 0.0, 1.0]), draws.choice([0.0, 0.1, 2.0])
    values = [level + scale * (slope * mark / MARKS + draws.gauss(0, noise)) for mark in range(length)]
    if broken and draws.random() < 0.5:
        for place in draws.sample(range(length), draws.randint(1, length)):
            values[place] = draws.choice([math.nan, math.inf, -math.inf])
    return values


seeds = st.integers(0, 2**32)
lengths = st.integers(1, MARKS)
curves = st.builds(drawn, seed=seeds, length=lengths)
broken_curves = st.builds(drawn, seed=seeds, length=lengths, broken=st.just(True))
finished = st.builds(drawn, seed=seeds, length=st.just(MARKS))
broken_finished = st.builds(drawn, seed=seeds, length=st.just(MARKS), broken=st.just(True))

quickly = settings(deadline=None, max_examples=60)
"""For properties that build whole studies."""


def observation(position: float, value: float, *, attempt: int = 1, learning_rate: float | None = None) -> Observation:
    return Observation(position=position, value=value, attempt=attempt, time=position, learning_rate=learning_rate)


def record(observations: Iterable[Observation], *, curve: Curve | None = None, total: float = TOTAL) -> Curve:
    """Record observations as the engine does; a given curve is gone on from."""
    curve = Curve() if curve is None else curve
    recorder = MarkRecorder(total=total, curve=curve)
    for seen in observations:
        for mark in recorder.add(seen):
            curve.append(mark, attempt=seen.attempt)
    return curve


def curve_of(values: Sequence[float]) -> Curve:
    """The curve with these values at marks 1, 2, ..."""
    return record(observation((index + 1) / MARKS * TOTAL, value) for index, value in enumerate(values))


def study_of(curves: Iterable[Sequence[float]]) -> StudyCurves:
    """A study in which trials with these values were trained to the end."""
    study = StudyCurves()
    for values in curves:
        study.add_completed(curve_of(values))
    return study


def marks_of(curve: Curve) -> list[tuple[object, ...]]:
    """Everything recorded, comparable although NaN may be in it."""
    return [tuple(map(repr, (m.mark, m.value, m.best, m.mean, m.learning_rate))) for m in curve]


def pulse(position: float, mean: float, *, count: int = 10, nonfinite: int = 0) -> Pulse:
    return Pulse(
        position=position,
        attempt=1,
        time=position,
        count=count,
        mean=mean,
        minimum=mean,
        maximum=mean,
        nonfinite=nonfinite,
    )


def mark_value(mark: int, value: float = 0.0) -> MarkValue:
    return MarkValue(mark=mark, value=value, best=value, mean=value)
