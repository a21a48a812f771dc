"""Hypothesis strategies for what users write: any valid TuningJob and Trial, as models."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from tuning_operator.api.metadata import ObjectMeta
from tuning_operator.api.parameters import Parameter, ParameterType, Scale
from tuning_operator.api.trial import Control, Desired, Trial, TrialSpec, TrialStatus
from tuning_operator.api.tuning_job import (
    Algorithm,
    Axis,
    Budget,
    Checkpoint,
    Direction,
    Evaluation,
    Metrics,
    Objective,
    Reduce,
    Search,
    TrialTemplate,
    TuningJob,
    TuningJobSpec,
)
from tuning_operator.control.registry import CONTROL_RULES
from tuning_operator.schema import Mode
from tuning_operator.stopping.registry import STOPPING_RULES

object_names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
parameter_names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,10}", fullmatch=True)
metric_names = st.from_regex(r"[a-z_:][a-z0-9_:]{0,12}", fullmatch=True)
words = st.text(string.printable, min_size=1, max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9)
scalars = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), finite, words)
durations = st.integers(0, 10**9).map(lambda count: timedelta(milliseconds=count))
number_texts = st.one_of(st.sampled_from(["NaN", "Infinity", "-Infinity"]), finite.map(repr))
maybe_names = st.one_of(st.none(), words)


@st.composite
def parameters(draw: st.DrawFn, name: str | None = None, *, finite_only: bool = False) -> Parameter:
    """One parameter without a condition; `finite_only` for spaces that can be counted."""
    name = name or draw(parameter_names)
    kind = draw(st.sampled_from(ParameterType))
    live = draw(st.booleans())
    if kind is ParameterType.CATEGORICAL:
        choices = draw(st.lists(scalars, min_size=1, max_size=5, unique_by=repr))
        return Parameter(name=name, type=kind, choices=tuple(choices), live=live)
    is_log = draw(st.booleans()) and not (finite_only and kind is ParameterType.FLOAT)
    low: float
    high: float
    step: float | None
    if kind is ParameterType.INT:
        low = draw(st.integers(1 if is_log else -20, 50))
        high = low + draw(st.integers(1, 20))
        step = None if is_log else draw(st.one_of(st.none(), st.integers(1, 7)))
    else:
        low = draw(st.floats(1e-6, 10.0)) if is_log else draw(st.floats(-10, 10))
        high = low + draw(st.floats(0.5, 10))
        step = None if is_log else draw(st.one_of(*(() if finite_only else (st.none(),)), st.floats(0.1, 3)))
    scale = Scale.LOG if is_log else draw(st.sampled_from([None, Scale.LINEAR]))
    return Parameter(name=name, type=kind, min=low, max=high, step=step, scale=scale, live=live)


@st.composite
def spaces(draw: st.DrawFn, *, finite_only: bool = False, conditional: bool = True) -> tuple[Parameter, ...]:
    """A valid search space: conditions name earlier parameters and values that these can take."""
    from tuning_operator.search.dimension import Dimension

    space: list[Parameter] = []
    for name in draw(st.lists(parameter_names, min_size=1, max_size=5, unique=True)):
        parameter = draw(parameters(name, finite_only=finite_only))
        countable = [parent for parent in space if Dimension(parent).count is not None]
        if conditional and countable and draw(st.booleans()):
            when = {}
            for parent in draw(
                st.lists(st.sampled_from(countable), min_size=1, max_size=2, unique_by=lambda p: p.name)
            ):
                dimension = Dimension(parent)
                places = draw(st.sets(st.integers(0, (dimension.count or 1) - 1), min_size=1, max_size=3))
                when[parent.name] = tuple(dimension.decode(dimension.nth(place)) for place in sorted(places))
            parameter = parameter.model_copy(update={"when": when})
        space.append(parameter)
    return tuple(draw(st.permutations(space)))


@st.composite
def rules(draw: st.DrawFn, registry: Any) -> Any:
    """Settings of one registered rule, its own numbers left alone."""
    return draw(st.sampled_from(list(registry))).Settings(mode=draw(st.sampled_from(Mode)))


@st.composite
def tuning_jobs(draw: st.DrawFn) -> TuningJob:
    """A valid TuningJob."""
    metric = draw(metric_names)
    return TuningJob(
        metadata=ObjectMeta(
            name=draw(object_names), labels=draw(st.none() | st.dictionaries(words, words, max_size=2))
        ),
        spec=TuningJobSpec(
            objective=Objective(
                metric=metric,
                direction=draw(st.sampled_from(Direction)),
                target=draw(st.none() | finite),
                reduce=draw(st.sampled_from(Reduce)),
            ),
            axis=Axis(metric=draw(metric_names.filter(lambda name: name != metric)), total=draw(st.floats(0.1, 1e9))),
            parameters=draw(spaces()),
            search=Search(
                algorithm=draw(st.sampled_from(Algorithm)),
                seed=draw(st.integers(0, 1000)),
                allow_duplicates=draw(st.booleans()),
            ),
            stopping=tuple(draw(st.lists(rules(STOPPING_RULES), max_size=3))),
            control=tuple(draw(st.lists(rules(CONTROL_RULES), max_size=3))),
            audit=draw(st.floats(0, 1)),
            budget=Budget(
                trials=draw(st.integers(1, 1000)),
                parallel=draw(st.integers(1, 100)),
                duration=draw(st.none() | durations),
                gpu_hours=draw(st.none() | st.floats(0.1, 1e6)),
            ),
            evaluation=draw(
                st.none()
                | st.lists(st.integers(1001, 9999), min_size=1, max_size=3, unique=True).map(
                    lambda seeds: Evaluation(seeds=tuple(seeds))
                )
            ),
            metrics=Metrics(interval=draw(durations)),
            trial=TrialTemplate(
                command=draw(st.none() | st.lists(words, min_size=1, max_size=3).map(tuple)),
                checkpoint=draw(st.none() | words.map(lambda uri: Checkpoint(uri=uri))),
                template=draw(
                    st.none() | st.dictionaries(words, st.recursive(scalars, st.lists, max_leaves=3), max_size=2)
                ),
            ),
            suspend=draw(st.booleans()),
        ),
    )


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    """A valid Trial."""
    marks = tuple(
        f"{mark} {' '.join(draw(number_texts) for _ in range(3))} {draw(number_texts | st.just('-'))} 1 {mark} 0.5"
        for mark in sorted(draw(st.sets(st.integers(1, 64), max_size=4)))
    )
    return Trial(
        metadata=ObjectMeta(name=draw(object_names)),
        spec=TrialSpec(
            job=draw(object_names),
            number=draw(st.integers(0, 10**6)),
            parameters=draw(st.dictionaries(parameter_names, scalars, max_size=4)),
            seed=draw(st.integers(0, 2**31)),
            desired=draw(st.sampled_from(Desired)),
            control=Control(revision=draw(st.integers(0, 99)), learning_rate_scale=draw(st.floats(0.01, 100))),
        ),
        status=draw(
            st.none()
            | st.builds(
                TrialStatus,
                attempt=st.integers(0, 9),
                value=st.none() | number_texts,
                marks=st.just(marks),
                start_time=st.none() | st.just(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
            )
        ),
    )
