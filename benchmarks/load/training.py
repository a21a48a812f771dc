"""One stand-in trial: a curve that unfolds with the clock, and the pages that a trainer serves about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from benchmarks.load.curves import REPORTS, TOTAL

from trial_protocol import names
from trial_protocol.environment import TrialEnvironment
from trial_protocol.history import HistoryRecord, render_history
from trial_protocol.result import Outcome, TrialResult
from tuning_operator.backends.simulation.course import Curves, Exit, Report
from tuning_operator.engine.events import TrialProposed
from tuning_operator.engine.wanted import WantedControl


@dataclass
class Training:
    """A training that began at `began` and takes `seconds`; report k (from 1) is there from `visible(k)` on."""

    environment: TrialEnvironment
    address: str
    began: float
    seconds: float
    curves: Curves
    proposed: TrialProposed
    control: WantedControl = field(default_factory=WantedControl)
    controls: list[tuple[int, float]] = field(default_factory=list)
    """Revision and time of arrival of every control message."""
    refused: int = 0
    """Control messages that were not taken."""
    broken: float | None = None
    """When a loss that is not finite appeared first."""

    def __post_init__(self) -> None:
        self._course = self.curves.start(self.proposed, attempt=1, position=0.0)
        self._reports: list[Report] = []
        self._revisions: list[int] = []
        self._looked = 0
        self._nonfinite = 0

    @property
    def end(self) -> float:
        """When the schedule is done."""
        return self.visible(REPORTS)

    def visible(self, report: int) -> float:
        """When a report appears."""
        return self.began + self.seconds * report / REPORTS

    def advance(self, now: float) -> None:
        """Train until now with what is in force."""
        while len(self._reports) < REPORTS and self.visible(len(self._reports) + 1) <= now:
            report = self._course.next(self.control)
            if report is None or isinstance(report, Exit):
                raise RuntimeError(f"the curve of {self.environment.trial} ends early")
            self._reports.append(report)
            self._revisions.append(self.control.revision)
            self._nonfinite += report.nonfinite
            if report.nonfinite and self.broken is None:
                self.broken = self.visible(len(self._reports))

    def steer(self, control: WantedControl, now: float) -> None:
        """Put a control message in force."""
        self.advance(now)
        self.control = control
        self.controls.append((control.revision, now))

    def metrics(self, now: float) -> tuple[str, str]:
        """Return the page that Prometheus and the operator read, and the cursor of the history's end.

        It ends the loss window, as only one looks here.
        """
        self.advance(now)
        window = [report.loss for report in self._reports[self._looked :] if math.isfinite(report.loss)]
        steps = sum(report.steps for report in self._reports[self._looked :])
        self._looked = len(self._reports)
        values: dict[str, float] = {
            names.METRIC_STEP: round(min((now - self.began) / self.seconds, 1.0) * TOTAL),
            f"{names.METRIC_LOSS_NONFINITE}": self._nonfinite,
            names.METRIC_LOSS_COUNT: steps,
            names.METRIC_LOSS_MEAN: sum(window) / len(window) if window else math.nan,
            names.METRIC_LOSS_MIN: min(window, default=math.nan),
            names.METRIC_LOSS_MAX: max(window, default=math.nan),
            names.METRIC_CONTROL_REVISION: self.control.revision,
            names.METRIC_SCHEDULE_FRACTION: min((now - self.began) / self.seconds, 1.0),
            names.METRIC_ATTEMPT: 1,
        }
        if self._reports:
            newest = self._reports[-1]
            values["eval_loss"] = math.nan if newest.value is None else newest.value
            if newest.learning_rate is not None:
                values[names.METRIC_LEARNING_RATE] = newest.learning_rate
        page = "".join(f"# TYPE {name} gauge\n{name} {value}\n" for name, value in values.items())
        return page, str(len(self._reports))

    def history(self, query: str, now: float) -> tuple[str, str]:
        """Return a page of the history and the cursor that continues it."""
        self.advance(now)
        asked = parse_qs(query)
        first = int(asked.get(names.QUERY_CURSOR, ["0"])[-1])
        limit = int(asked.get(names.QUERY_LIMIT, ["1000"])[-1])
        page = range(first, min(first + limit, len(self._reports)))
        return render_history(self._record(index) for index in page), str(page.stop if page else first)

    def _record(self, index: int) -> HistoryRecord:
        report = self._reports[index]
        return HistoryRecord(
            step=round(report.position),
            attempt=1,
            time=self.visible(index + 1),
            values={
                "eval_loss": math.nan if report.value is None else report.value,
                names.METRIC_STEP: round(report.position),
            },
            learning_rate=report.learning_rate,
            revision=self._revisions[index],
        )

    def result(self, now: float) -> TrialResult:
        """Return the last word of a training that is done."""
        self.advance(now)
        newest = self._reports[-1]
        return TrialResult(
            outcome=Outcome.COMPLETED,
            step=TOTAL,
            values={} if newest.value is None else {"eval_loss": newest.value},
            checkpoint=f"s3://load/{self.environment.trial}",
            revision=self.control.revision,
        )
