"""Pictures of jobs as an engine would give them, made from a seed: small, large, odd and empty ones."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tuning_operator.api.metadata import ObjectMeta
from tuning_operator.api.tuning_job import TuningJob, TuningJobSpec
from tuning_operator.backends.simulation.simulation import simulate
from tuning_operator.backends.simulation.synthetic import SyntheticCurves
from tuning_operator.engine.codec import to_line
from tuning_operator.engine.decisions import Action, Decision
from tuning_operator.engine.events import EndReason, Role
from tuning_operator.engine.view import CurvePoint, JobView, TrialState, TrialView
from tuning_operator.schema import Mode, Scalar

START = 1_750_000_000.0
MARKS = 50


def make_spec(**changes: Any) -> TuningJobSpec:
    manifest: dict[str, Any] = {
        "objective": {"metric": "eval_loss"},
        "axis": {"metric": "train_step", "total": 2000},
        "parameters": [
            {"name": "lr", "type": "Float", "min": 1e-5, "max": 1e-1, "scale": "Log", "live": True},
            {"name": "width", "type": "Int", "min": 32, "max": 512, "scale": "Log"},
            {"name": "optimizer", "type": "Categorical", "choices": ["adamw", "sgd"]},
            {"name": "momentum", "type": "Float", "min": 0.0, "max": 0.99, "when": {"optimizer": ["sgd"]}},
        ],
        "search": {"algorithm": "TPE", "seed": 7},
        "stopping": [{"rule": "Percentile"}, {"rule": "Divergence"}],
        "control": [{"rule": "BackOff"}, {"rule": "CoolDown"}],
        "budget": {"trials": 16, "parallel": 3, "duration": "4h"},
    }
    return TuningJobSpec.model_validate(manifest | changes)


def make_trial(number: int, **changes: Any) -> TrialView:
    trial = TrialView(
        number=number,
        name=f"digits-{number:04d}",
        role=Role.SEARCH,
        candidate=None,
        audited=False,
        parameters={"lr": 0.001, "width": 128, "optimizer": "adamw"},
        state=TrialState.RUNNING,
        reason=None,
        message="",
        attempt=1,
        fraction=0.0,
        value=None,
        best=None,
        result=None,
        learning_rate=None,
        scale=1.0,
        revision=0,
        applied_revision=0,
        checkpoint="",
        started=START,
        ended=None,
        compute_seconds=0.0,
        gpu_seconds=0.0,
        points=(),
    )
    return replace(trial, **changes)


def make_decision(sequence: int, trial: int | None, **changes: Any) -> Decision:
    decision = Decision(
        sequence=sequence,
        time=START + sequence,
        because=sequence - 1,
        trial=trial,
        rule="Percentile",
        action=Action.STOP,
        mode=Mode.ACT,
        enforced=True,
        reason="StoppedEarly",
        sentence="after 20% its best loss 1.31 is above 0.42, the 10th percentile of the running averages of 5 trials",
        fraction=0.2,
        inputs={"best": 1.31, "threshold": 0.42},
        compared=5,
        saved=0.8,
    )
    return replace(decision, **changes)


def make_view(
    trials: tuple[TrialView, ...] = (),
    decisions: tuple[Decision, ...] = (),
    *,
    spec: TuningJobSpec | None = None,
    best: TrialView | None = None,
    **changes: Any,
) -> JobView:
    reasons = Counter(trial.reason.value for trial in trials if trial.reason)
    compute = sum(trial.compute_seconds for trial in trials)
    saved = sum(
        trial.compute_seconds * (1 - trial.fraction) / trial.fraction
        for trial in trials
        if trial.reason is EndReason.STOPPED_EARLY and trial.fraction
    )
    view = JobView(
        name="digits",
        spec=spec or make_spec(),
        suspended=False,
        finished=None,
        trials=trials,
        decisions=decisions,
        best=best,
        states=Counter(trial.state.value for trial in trials),
        reasons=reasons,
        learning_rate_changes=sum(1 for one in decisions if one.enforced and one.revision),
        compute_seconds=compute,
        compute_seconds_saved=saved,
        gpu_hours=0.0,
        gpu_hours_saved=0.0,
        rank_correlation=None,
        wrong_stop_rate=None,
        started=START,
        updated=START + 133,
    )
    return replace(view, **changes)


class _Simulated:
    """A made-up study: a quadratic bowl in log learning rate and width, with noise and a few accidents."""

    def __init__(self, *, seed: int, maximise: bool, nonfinite: bool) -> None:
        self.random = random.Random(seed)
        self.maximise = maximise
        self.nonfinite = nonfinite
        self.sequence = 0
        self.trials: list[TrialView] = []
        self.decisions: list[Decision] = []
        self.clock = START

    def draw(self) -> dict[str, Scalar]:
        values: dict[str, Scalar] = {
            "lr": 10 ** self.random.uniform(-5, -1),
            "width": round(2 ** self.random.uniform(5, 9)),
            "optimizer": self.random.choice(["adamw", "sgd"]),
        }
        if values["optimizer"] == "sgd":
            values["momentum"] = round(self.random.uniform(0, 0.99), 3)
        return values

    def value(self, parameters: Mapping[str, Scalar], fraction: float) -> float:
        best = 2.3 if parameters["optimizer"] == "adamw" else 1.8
        distance = abs(-math.log10(float(parameters["lr"])) - best - 0.5)
        floor = 0.045 + 0.12 * distance**2 + 0.03 * abs(math.log2(float(parameters["width"])) - 7.5)
        value = floor + (2.3 - min(floor, 2.2)) * math.exp(-fraction * 9 / (1 + distance))
        value *= 1 + self.random.gauss(0, 0.02)
        return 1 - value / 3 if self.maximise else value

    def decide(self, trial: int, **changes: Any) -> None:
        self.sequence += 2
        decision = make_decision(self.sequence, trial, time=self.clock, **changes)
        self.decisions.append(decision)

    def add(self, *, last: float = 1.0, role: Role = Role.SEARCH, candidate: TrialView | None = None) -> TrialView:
        number = len(self.trials)
        parameters = dict(candidate.parameters) if candidate else self.draw()
        base = float(parameters["lr"])
        scale, revision, quiet = 1.0, 0, 0
        points: list[CurvePoint] = []
        reason: EndReason | None = None
        for mark in range(1, round(last * MARKS) + 1):
            fraction = mark / MARKS
            value = self.value(parameters, fraction)
            if self.nonfinite and base > 0.03 and mark > 8:
                value = math.nan
            rate = base * scale * (1.0 if fraction < 0.8 else 0.5 * (1 + math.cos(math.pi * (fraction - 0.8) / 0.2)))
            points.append(CurvePoint(fraction=fraction, value=value, learning_rate=rate))
            if role is Role.EVALUATION:
                continue
            self.clock += 0.05
            if not math.isfinite(value):
                reason = EndReason.NON_FINITE
                self.decide(
                    number,
                    rule="Divergence",
                    reason="NonFinite",
                    fraction=fraction,
                    inputs={"nonfinite": 3.0},
                    compared=0,
                    saved=1 - fraction,
                    sentence=f"after {fraction:.0%} its training loss is not a finite number",
                )
                break
            if base > 0.01 and mark in (6, 14) and revision < 2:
                scale, revision, quiet = scale * 0.5, revision + 1, mark + 3
                self.decide(
                    number,
                    rule="BackOff",
                    action=Action.CHANGE_LEARNING_RATE,
                    reason="",
                    fraction=fraction,
                    inputs={"loss": 8.1, "sigma": 6.0},
                    compared=0,
                    saved=0.0,
                    revision=revision,
                    scale=scale,
                    sentence=f"after {fraction:.0%} its training loss exploded, 8.1 deviations above its trend",
                )
            losing = abs(-math.log10(base) - 2.8) > 1.1
            if losing and mark == 10 + number % 7 and mark > quiet and number > 3:
                audited = number % 9 == 4
                self.decide(
                    number,
                    fraction=fraction,
                    enforced=not audited,
                    inputs={"best": value, "threshold": 0.42, "completed": 5.0},
                    saved=0.0 if audited else 1 - fraction,
                    sentence=f"after {fraction:.0%} its best loss {value:.4g} is above 0.42, the 10th percentile of "
                    "the running averages of 5 completed trials",
                )
                if not audited:
                    reason = EndReason.STOPPED_EARLY
                    break
        done = points[-1].fraction if points else 0.0
        ended = reason is not None or last >= 1
        finite = [point.value for point in points if math.isfinite(point.value)]
        best = (max if self.maximise else min)(finite) if finite else None
        seconds = 40 * done * (1 + float(parameters["width"]) / 512)
        trial = make_trial(
            number,
            role=role,
            candidate=candidate.number if candidate else None,
            audited=role is Role.SEARCH and number % 9 == 4,
            parameters=parameters,
            state=TrialState.ENDED if ended else TrialState.RUNNING,
            reason=(reason or EndReason.COMPLETED) if ended else None,
            fraction=done,
            value=points[-1].value if points else None,
            best=best,
            result=best if ended else None,
            learning_rate=points[-1].learning_rate if points else None,
            scale=scale,
            revision=revision,
            applied_revision=revision,
            started=self.clock - seconds,
            ended=self.clock if ended else None,
            compute_seconds=seconds,
            points=tuple(points),
        )
        self.clock += 4.0
        self.trials.append(trial)
        return trial


def simulated_view(
    trials: int = 16,
    *,
    running: int = 0,
    pending: int = 0,
    seed: int = 3,
    maximise: bool = False,
    nonfinite: bool = True,
    evaluated: int = 0,
    finished: str | None = None,
    spec: TuningJobSpec | None = None,
) -> JobView:
    """A whole study: `trials` ended, then `running` at different places, then `pending`."""
    study = _Simulated(seed=seed, maximise=maximise, nonfinite=nonfinite)
    for _ in range(trials):
        study.add()
    for index in range(running):
        study.add(last=0.16 + 0.62 * ((index * 5) % 8) / 8)
    ended = [trial for trial in study.trials if trial.reason is EndReason.COMPLETED and trial.result is not None]
    order = sorted(ended, key=lambda trial: trial.result or 0.0, reverse=maximise)
    for candidate in order[:evaluated]:
        for _ in range(3):
            study.add(role=Role.EVALUATION, candidate=candidate)
    for _ in range(pending):
        study.trials.append(
            make_trial(len(study.trials), parameters=study.draw(), state=TrialState.PENDING, started=None)
        )
    budget = {"trials": max(trials + running + pending, 16), "parallel": max(running, 1), "duration": "4h"}
    changes: dict[str, Any] = {"budget": budget}
    if maximise:
        changes["objective"] = {"metric": "accuracy", "direction": "Maximize"}
    if evaluated:
        changes["evaluation"] = {"top": evaluated, "seeds": [101, 102, 103]}
    return make_view(
        tuple(study.trials),
        tuple(study.decisions),
        spec=spec or make_spec(**changes),
        best=order[0] if order else None,
        finished=finished,
        updated=study.clock,
        rank_correlation=0.82 if len(order) > 5 else None,
        wrong_stop_rate=0.0 if trials > 20 else None,
    )


def write_run(directory: Path, *, trials: int = 16) -> JobView:
    """Write a run directory whose log the real engine made, over invented trainings; return its picture."""
    spec = make_spec(budget={"trials": trials, "parallel": 3}, control=[{"rule": "BackOff"}], audit=0.1)
    job = TuningJob(metadata=ObjectMeta(name="digits"), spec=spec)
    played = simulate(job, SyntheticCurves(total=2000, seed=1, seconds=4), seed=1)
    directory.mkdir(parents=True)
    manifest = job.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    header = {"apiVersion": job.api_version, "kind": job.kind}
    (directory / "job.yaml").write_text(yaml.safe_dump(header | manifest), encoding="utf-8")
    (directory / "events.jsonl").write_text(
        "".join(to_line(record).rstrip("\n") + "\n" for record in played.records), encoding="utf-8"
    )
    return played.view
