"""TuningJob: the study, as a user writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from tuning_operator.api.metadata import API_VERSION, ObjectMeta
from tuning_operator.api.parameters import Assignment, Parameter
from tuning_operator.api.rules import ControlSettings, StoppingSettings
from tuning_operator.api.status import TuningJobStatus
from tuning_operator.schema import STABLE_DEFAULT, Duration, Manifest, cel

MetricName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]


class Direction(StrEnum):
    """Which way is better."""

    MINIMIZE = "Minimize"
    MAXIMIZE = "Maximize"


class Reduce(StrEnum):
    """How a trial's curve becomes its result."""

    BEST = "Best"
    LAST = "Last"


class Algorithm(StrEnum):
    """Who proposes configurations."""

    RANDOM = "Random"
    GRID = "Grid"
    SOBOL = "Sobol"
    TPE = "TPE"
    GP = "GP"
    CMAES = "CMAES"


class Objective(Manifest):
    """What is to be made better."""

    metric: MetricName
    """Name of the metric that trials report."""
    direction: Annotated[Direction, Field(json_schema_extra=STABLE_DEFAULT)] = Direction.MINIMIZE
    """Minimize or Maximize."""
    target: float | None = None
    """The job is done as soon as a trial is at least this good."""
    reduce: Annotated[Reduce, Field(json_schema_extra=STABLE_DEFAULT)] = Reduce.BEST
    """A trial's result is its Best value or its Last one."""


class Axis(Manifest):
    """What "10 % of training" means."""

    metric: MetricName = "train_step"
    """Counter that trials report: train_step, train_tokens, train_samples, train_epochs, train_seconds or your own."""
    total: Annotated[float, Field(gt=0)]
    """Length of the planned schedule, in units of the counter."""


class Search(Manifest):
    """How configurations are proposed."""

    algorithm: Algorithm = Algorithm.TPE
    """Random, Grid, Sobol, TPE, GP (needs torch, best below 200 trials) or CMAES (numbers only)."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """All proposals follow from it."""
    initial: Annotated[tuple[Assignment, ...], Field(max_length=64)] = ()
    """Configurations to try first; parameters left out are chosen by the algorithm."""
    allow_duplicates: bool = False
    """Whether a configuration may be proposed twice, as for noisy objectives."""


class Budget(Manifest):
    """What the job may use. Running out of it ends the job and keeps what was found."""

    trials: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Search trials in all."""
    parallel: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Trials at once."""
    failed_trials: Annotated[int, Field(ge=0, le=100_000)] = 3
    """The job fails when more trials than this have failed. A stop by rule is not a failure."""
    duration: Duration | None = None
    """Wall-clock time of the whole job."""
    gpu_hours: Annotated[float, Field(gt=0)] | None = None
    """GPU-hours over all trials."""


class Evaluation(Manifest):
    """Retraining of the finalists with seeds that the search never saw."""

    top: Annotated[int, Field(ge=1, le=20)] = 3
    """How many of the best trials are retrained."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, le=2**31 - 1)], ...], Field(min_length=1, max_length=20)]
    """Each finalist is trained once with each seed."""


class Checkpoint(Manifest):
    """Where trials keep their checkpoints; each trial gets a folder of its own below."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [cel("has(self.uri) != has(self.claim)", "give exactly one of uri and claim")]
        }
    )

    uri: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """A folder or a store, for example s3://bucket/digits."""
    claim: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Name of a PersistentVolumeClaim that is mounted into the trials."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.uri is None) == (self.claim is None):
            raise ValueError("give exactly one of uri and claim")
        return self


class Prometheus(Manifest):
    """A Prometheus server that scrapes the trials, and by which labels it knows them."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "self.url.matches('^https?://[^/?#@ ]+(/[^?#@ ]*)?$')",
                    "give the base address of the server, such as http://prometheus.monitoring:9090, without user, "
                    "password, query and fragment",
                    field="url",
                ),
                cel(
                    "!self.url.matches('/(api/v1(/.*)?|graph|query)/?$')",
                    "give the base address of the server; /api/v1/query is added to it",
                    field="url",
                ),
                cel(
                    "!has(self.matchers) || self.matchers.all(label, label.matches('^[a-zA-Z_][a-zA-Z0-9_]*$'))",
                    "a label consists of letters, digits and _ and does not begin with a digit",
                    field="matchers",
                ),
                cel(
                    "!has(self.matchers) || "
                    "!self.matchers.exists(label, label in ['namespace', 'pod', 'metric', '__name__'])",
                    "the operator itself asks for namespace, pod, metric and __name__",
                    field="matchers",
                ),
            ]
        }
    )

    url: Annotated[str, Field(min_length=1, max_length=1024)]
    """Its base address, with a path prefix if it has one: http://prometheus.monitoring:9090."""
    matchers: Annotated[
        Mapping[Annotated[str, Field(max_length=128)], Annotated[str, Field(max_length=256)]],
        Field(max_length=16, default_factory=dict),
    ]
    """Labels that series must have beside namespace and pod, as where one server keeps several clusters."""

    @field_validator("url")
    @classmethod
    def _base_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in ("http", "https") or " " in url:
            raise ValueError("expected the address of a Prometheus server, such as http://prometheus.monitoring:9090")
        if "@" in url:
            raise ValueError(
                "a user and password in an address are seen by everybody who may read the job; leave them out, and "
                "give the operator a token for this server (--prometheus-url, --prometheus-token-file)"
            )
        if "?" in url or "#" in url:
            raise ValueError("expected an address without ? and #; labels to select by belong to matchers")
        if re.search(r"/(api/v1(/.*)?|graph|query)/?$", parts.path):
            raise ValueError("expected the base address of the server; /api/v1/query is added to it")
        return url

    @field_validator("matchers")
    @classmethod
    def _others(cls, matchers: Mapping[str, str]) -> Mapping[str, str]:
        for label in matchers:
            if label in ("namespace", "pod", "metric", "__name__"):
                raise ValueError(f"the operator asks for {label} itself; leave it out")
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", label):
                raise ValueError(f"{label} is no label: letters, digits and _, and no digit at the beginning")
        return matchers


class Metrics(Manifest):
    """How trials are read."""

    interval: Duration = timedelta(seconds=5)
    """Time between two looks at a trial."""
    first_within: Duration = timedelta(minutes=5)
    """A trial that has reported nothing after this time ends as MetricsUnavailable."""
    prometheus: Prometheus | None = None
    """Read through this Prometheus server instead of from the trials themselves."""


class TrialTemplate(Manifest):
    """What runs as a trial."""

    command: (
        Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], Field(min_length=1, max_length=256)] | None
    ) = None
    """Command of a local trial; on a cluster the template's container says it."""
    nodes: Annotated[int, Field(ge=1, le=1024)] = 1
    """Pods per trial; more than one makes an Indexed Job with a headless Service."""
    checkpoint: Checkpoint | None = None
    """Where checkpoints go; without it a stopped or preempted trial starts again from the beginning."""
    retries: Annotated[int, Field(ge=0, le=100)] = 3
    """Restarts of a trial that failed; each continues from its newest checkpoint."""
    grace_period: Duration = timedelta(seconds=30)
    """Time between SIGTERM and SIGKILL, for a last checkpoint."""
    template: dict[str, Any] | None = None
    """A PodTemplateSpec, passed through untouched but for environment, port and labels."""


class TuningJobSpec(Manifest):
    """What is searched, how it is judged, and what it may cost."""

    objective: Objective
    axis: Axis
    parameters: Annotated[
        tuple[Parameter, ...],
        Field(
            min_length=1,
            max_length=64,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    """The search space."""
    search: Search = Search()
    stopping: Annotated[tuple[StoppingSettings, ...], Field(max_length=16)] = ()
    """Rules that may stop a trial; the first that says stop is obeyed."""
    control: Annotated[tuple[ControlSettings, ...], Field(max_length=16)] = ()
    """Rules that may change the learning rate of a running trial; they are asked before the stopping rules."""
    audit: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Fraction of trials that no rule may stop; from them the wrong-stop rate is estimated."""
    budget: Budget = Budget()
    evaluation: Evaluation | None = None
    """Retraining of the finalists with seeds that the search never saw; left out, none are retrained."""
    metrics: Metrics = Metrics()
    trial: TrialTemplate = TrialTemplate()
    suspend: Annotated[bool, Field(json_schema_extra=STABLE_DEFAULT)] = False
    """Free everything now; false continues from the checkpoints."""
    cancel: Annotated[bool, Field(json_schema_extra=STABLE_DEFAULT)] = False
    """End the job now and keep what was found; this cannot be taken back."""


class TuningJob(Manifest):
    """A search for the best hyperparameters of one training program."""

    api_version: Literal["tuning-operator.io/v1alpha1"] = API_VERSION
    kind: Literal["TuningJob"] = "TuningJob"
    metadata: ObjectMeta
    spec: TuningJobSpec
    status: TuningJobStatus | None = None
