"""The view of a running job in a terminal: one frozen picture in, one renderable out.

It never grows past the height it is given: running trials come first, then the best, and a line says how many are not
shown. Columns appear as the width allows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tuning_operator.cli import reading, words
from tuning_operator.cli.sparkline import sparkline
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.events import EndReason, Role
from tuning_operator.engine.view import JobView, TrialState, TrialView

STATE_STYLES: Final = {
    "running": "bold cyan",
    "completed": "green",
    "target reached": "bold green",
    "stopped early": "yellow",
    "paused": "magenta",
    "pending": "dim",
    "budget used up": "dim",
    "cancelled": "dim",
    "preempted": "magenta",
}
_FAILED_STYLE: Final = "red"
_BAR: Final = 10
_CURVE: Final = 14
_MEDIUM: Final = 76
"""Columns from which curves are shown; an ordinary terminal has 80."""
_WIDE: Final = 96
"""Columns from which bars and remarks are shown."""
_HUGE: Final = 130
"""Columns from which parameters are shown."""
_LEAST_ROWS: Final = 3
_LATELY: Final = 3


def render(view: JobView, *, width: int, height: int) -> RenderableType:
    """Return the whole view, at most `height` lines of `width` characters (but never fewer than three trials)."""
    header = [_title(view, width), *_notice(view), *_budgets(view, width), Text()]
    footer = [Text(), *_best(view), *_lately(view, height)]
    shown, hidden = _chosen(view, height - len(header) - len(footer) - 2)
    rows: list[RenderableType] = [*header, _trials(view, shown, width)]
    if hidden:
        rows.append(Text(_hidden(hidden), style="dim"))
    return Group(*rows, *footer)


def _title(view: JobView, width: int) -> Text:
    objective = view.spec.objective
    left = Text.assemble(
        (view.name, "bold"),
        ("  " + view.spec.search.algorithm.value, "cyan"),
        (f"  {objective.direction.value.lower()} {objective.metric}", "default"),
    )
    if objective.target is not None:
        left.append(f" to {words.number(objective.target)}")
    if view.finished:
        left.append(f"  finished: {words.FINISHED_SENTENCES.get(view.finished, view.finished)}", style="bold green")
    elif view.suspended:
        left.append("  suspended", style="bold magenta")
    right = words.clock(reading.elapsed(view))
    left.truncate(max(width - len(right) - 2, 10), overflow="ellipsis")
    left.append(" " * max(width - left.cell_len - len(right), 1))
    return left.append(right, style="dim")


def _notice(view: JobView) -> list[Text]:
    return [Text(view.notice, style="bold yellow", no_wrap=True, overflow="ellipsis")] if view.notice else []


def _budgets(view: JobView, width: int) -> list[Text]:
    budget = view.spec.budget
    ended = sum(1 for trial in reading.search_trials(view) if trial.state is TrialState.ENDED)
    lines = [_budget("trials", ended / budget.trials, f"{ended} of {budget.trials}", width)]
    if budget.duration is not None:
        used, allowed = reading.elapsed(view), budget.duration.total_seconds()
        lines.append(
            _budget(
                "time", used / allowed if allowed else 1, f"{words.duration(used)} of {words.duration(allowed)}", width
            )
        )
    if budget.gpu_hours is not None:
        text = f"{words.number(view.gpu_hours, digits=3)} of {words.number(budget.gpu_hours)}"
        lines.append(_budget("GPU-hours", view.gpu_hours / budget.gpu_hours, text, width))
    return lines


def _budget(name: str, fraction: float, text: str, width: int) -> Text:
    return Text.assemble((f"{name:<10}", "dim"), _bar(fraction, max(min(width - 34, 40), 8)), "  ", text)


def _bar(fraction: float, width: int, style: str = "cyan") -> Text:
    filled = round(min(max(fraction, 0.0), 1.0) * width)
    return Text.assemble(("━" * filled, style), ("─" * (width - filled), "bright_black"))


def _chosen(view: JobView, room: int) -> tuple[list[TrialView], list[TrialView]]:
    """Split the trials into those shown, in order, and those hidden."""
    running = [trial for trial in view.trials if trial.state is TrialState.RUNNING]
    paused = [trial for trial in view.trials if trial.state is TrialState.PAUSED]
    ended = reading.ranked(view, [trial for trial in view.trials if trial.state is TrialState.ENDED])
    pending = [trial for trial in view.trials if trial.state is TrialState.PENDING]
    order = [*running, *ended[:1], *paused, *ended[1:], *pending]
    room = max(room, _LEAST_ROWS)
    if len(order) <= room:
        return order, []
    return order[: room - 1], order[room - 1 :]


def _hidden(trials: Sequence[TrialView]) -> str:
    counts = Counter(map(words.state, trials))
    return f"and {words.count(len(trials), 'more trial')}: " + ", ".join(
        f"{amount} {state}" for state, amount in counts.most_common()
    )


def _trials(view: JobView, trials: Sequence[TrialView], width: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), expand=False, header_style="dim", pad_edge=False)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("schedule", no_wrap=True)
    table.add_column(_cut(view.spec.objective.metric, 14), justify="right", no_wrap=True)
    table.add_column("learning rate" if width >= _MEDIUM else "lr", no_wrap=True)
    # Only what follows may shrink when the terminal is too narrow for all.
    if width >= _MEDIUM:
        table.add_column("curve", overflow="crop")
    if width >= _HUGE:
        table.add_column("parameters", overflow="ellipsis", style="dim")
    if width >= _WIDE:
        table.add_column("", overflow="ellipsis", style="dim")
    for trial in trials:
        table.add_row(*_row(view, trial, width))
    return table


def _row(view: JobView, trial: TrialView, width: int) -> list[RenderableType]:
    state = words.state(trial)
    style = STATE_STYLES.get(state, _FAILED_STYLE)
    is_best = view.best is not None and view.best.number == trial.number
    started = trial.state is not TrialState.PENDING
    schedule = Text()
    if started:
        if width >= _WIDE:
            schedule = _bar(trial.fraction, _BAR, style.removeprefix("bold ")) + Text(" ")
        schedule.append(f"{words.percent(trial.fraction):>5}")
    value = trial.result if trial.result is not None else trial.value
    row: list[RenderableType] = [
        Text(("★ " if is_best else "") + str(trial.number), style="bold" if is_best else ""),
        Text(state, style=style),
        schedule,
        Text(words.number(value) if started else "", style="bold green" if is_best else ""),
        _learning_rate(trial) if started else Text(),
    ]
    if width >= _MEDIUM:
        curve = sparkline([point.value for point in trial.points], width=_CURVE, log=not reading.maximises(view))
        row.append(Text(curve, style=style, no_wrap=True, overflow="crop"))
    if width >= _HUGE:
        row.append(Text(words.parameters(trial.parameters), no_wrap=True, overflow="ellipsis"))
    if width >= _WIDE:
        row.append(Text(_remark(view, trial), no_wrap=True, overflow="ellipsis"))
    return row


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _learning_rate(trial: TrialView) -> Text:
    in_force = trial.learning_rate if trial.state is not TrialState.ENDED else None
    text = Text("" if in_force is None else words.rate(in_force))
    if trial.scale != 1.0:
        text.append(" " if text else "").append(f"×{words.number(trial.scale, digits=3)}", style="bold magenta")
        if trial.state is TrialState.RUNNING and trial.applied_revision < trial.revision:
            text.append("…", style="magenta")
    return text


def _remark(view: JobView, trial: TrialView) -> str:
    if trial.role is Role.EVALUATION:
        return f"trial {trial.candidate} again, new seed"
    if (rule := reading.stopped_by(view, trial)) is not None:
        return f"by {rule}"
    if trial.message and trial.reason is not EndReason.COMPLETED:
        return trial.message
    if trial.attempt > 1:
        return f"attempt {trial.attempt}"
    return "audited" if trial.audited else ""


def _best(view: JobView) -> list[Text]:
    if view.best is None:
        return [Text("no trial has a result yet", style="dim")]
    value = words.number(reading.score(view.best))
    line = Text.assemble(
        ("best ", "dim"),
        (f"trial {view.best.number}", "bold"),
        f"  {view.spec.objective.metric} ",
        (value, "bold green"),
        "  ",
        (words.parameters(view.best.parameters), "default"),
    )
    line.no_wrap, line.overflow = True, "ellipsis"
    return [line]


def _lately(view: JobView, height: int) -> list[Text]:
    acted = [one for one in sorted(view.decisions, key=lambda one: one.sequence) if one.enforced]
    return [_decision(view, one) for one in acted[-(_LATELY if height >= 20 else 1) :]]


def _decision(view: JobView, decision: Decision) -> Text:
    at = words.clock(decision.time - view.started) if view.started is not None else ""
    line = Text.assemble((f"{at:>7}  ", "dim"), (words.decision(decision), "default"))
    line.no_wrap, line.overflow = True, "ellipsis"
    return line
