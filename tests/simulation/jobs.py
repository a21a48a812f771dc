"""Random jobs and trainings for the simulation."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tuning_operator.api.tuning_job import TuningJob
from tuning_operator.backends.simulation.synthetic import SyntheticCurves

TOTAL = 1000.0


def make_job(**changes: Any) -> TuningJob:
    spec: dict[str, Any] = {
        "objective": {"metric": "eval_loss"},
        "axis": {"total": TOTAL},
        "parameters": [
            {"name": "lr", "type": "Float", "min": 1e-5, "max": 1e-1, "scale": "Log", "live": True},
            {"name": "width", "type": "Int", "min": 32, "max": 512, "scale": "Log"},
        ],
        "search": {"algorithm": "Random", "seed": 7},
        "stopping": [{"rule": "Percentile"}, {"rule": "Divergence"}],
        "control": [{"rule": "BackOff"}, {"rule": "CoolDown"}],
        "audit": 0.1,
        "budget": {"trials": 20, "parallel": 4, "failedTrials": 10},
    }
    return TuningJob.model_validate({"metadata": {"name": "job"}, "spec": spec | changes})


modes = st.sampled_from(["Act", "Observe"])


@st.composite
def jobs(draw: st.DrawFn) -> TuningJob:
    trials = draw(st.integers(2, 14))
    stopping = [
        {"rule": "Percentile", "percentile": draw(st.sampled_from([10, 50])), "minimumTrials": draw(st.integers(1, 3))},
        {"rule": "Divergence"},
    ]
    control = [{"rule": "BackOff", "times": draw(st.integers(1, 3))}, {"rule": "CoolDown"}]
    return make_job(
        objective={
            "metric": "value",
            "direction": draw(st.sampled_from(["Minimize", "Maximize"])),
            "reduce": draw(st.sampled_from(["Best", "Last"])),
            **draw(st.sampled_from([{}, {}, {"target": 0.3}])),
        },
        search={"algorithm": draw(st.sampled_from(["Random", "Sobol", "Grid"])), "seed": draw(st.integers(0, 99))},
        parameters=[
            {"name": "lr", "type": "Float", "min": 1e-5, "max": 0.1, "step": draw(st.sampled_from([1e-3, 0.02]))}
        ],
        stopping=[rule | {"mode": draw(modes)} for rule in draw(st.permutations(stopping))],
        control=[rule | {"mode": draw(modes)} for rule in draw(st.permutations(control))],
        audit=draw(st.sampled_from([0.0, 0.3, 1.0])),
        budget={
            "trials": trials,
            "parallel": draw(st.integers(1, 5)),
            "failedTrials": draw(st.integers(0, 5)),
            **draw(st.sampled_from([{}, {}, {"duration": "40m"}, {"gpuHours": 1.0}])),
        },
        evaluation=draw(st.sampled_from([None, {"top": 2, "seeds": [101, 102]}])),
        trial={"retries": draw(st.integers(0, 2))},
    )


@st.composite
def trainings(draw: st.DrawFn, job: TuningJob) -> SyntheticCurves:
    return SyntheticCurves(
        total=TOTAL,
        seed=draw(st.integers(0, 99)),
        reports=draw(st.sampled_from([7, 25, 50, 60])),
        crashes=draw(st.sampled_from([0.0, 0.3])),
        limit=draw(st.sampled_from([1.5, 10.0])),
        best=0.01,
        maximize=job.spec.objective.direction == "Maximize",
    )
