"""What all trials of one local run share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.local.command import LocalCommand
from tuning_operator.backends.local.recorder import Recorder
from tuning_operator.scrape.scraper import Scraper
from tuning_operator.scrape.steering import Steering


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """The tools of a run.

    Attributes:
        job: Name of the job.
        environment: What every trial's environment begins with.
        public_key: PEM of the key that control messages are signed with.
        interval: Seconds between two looks at a trial.
        clock: Seconds since the epoch.
    """

    job: str
    spec: TuningJobSpec
    command: LocalCommand
    environment: Mapping[str, str]
    public_key: str
    recorder: Recorder
    scraper: Scraper
    steering: Steering
    interval: float
    clock: Callable[[], float]

    @property
    def grace(self) -> float:
        """Seconds between SIGTERM and SIGKILL."""
        return self.spec.trial.grace_period.total_seconds()
