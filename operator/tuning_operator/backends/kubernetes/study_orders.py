"""What a study wants of its trials, told to both who act on it: the trial controller, and the trial itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from trial_protocol.control import ControlMessage
from tuning_operator.api.trial import Desired
from tuning_operator.backends.kubernetes.site import Site
from tuning_operator.backends.kubernetes.study_objects import StudyObjects
from tuning_operator.backends.kubernetes.study_state import StudyState
from tuning_operator.scrape.steering import is_behind

_log = logging.getLogger(__name__)


async def agree(objects: StudyObjects, state: StudyState) -> None:
    """Write the spec of every Trial of which something else is wanted, or about which something was decided."""
    found = []
    for number, watched in state.watched.items():
        wanted = state.wanted(number)
        agreed = (wanted, len(watched.log.decisions))
        if agreed != watched.agreed:
            watched.agreed = agreed
            found.append(objects.write_spec(watched, wanted))
    await asyncio.gather(*found)


async def undo(objects: StudyObjects, state: StudyState, names: Iterable[str]) -> None:
    """Restore the specs among these Trials that somebody else changed: they are the log, and not a place for wishes."""
    for number, body in state.bodies(names):
        watched, spec = state.watched[number], body["spec"]
        if body["metadata"]["generation"] > watched.generation and spec != watched.log.written:
            await objects.restore_spec(watched, state.wanted(number), found=spec)


async def steer(
    site: Site, objects: StudyObjects, state: StudyState, *, again: Callable[[int], bool] | None = None
) -> None:
    """Send control messages to trials that have not reported the wanted revision.

    One that does not answer is not waited for longer than is good for the others.

    Args:
        again: To which trials, by number, also if it was sent before; None for none.
    """
    sent = []
    for number, watched in state.watched.items():
        wanted = state.engine.wanted(number)
        control = wanted.control
        is_new = control.revision > watched.sent
        if wanted.desired is not Desired.RUNNING or watched.url is None or not (is_new or (again and again(number))):
            continue
        if not is_new and watched.sending is not None and not watched.sending.done():
            continue
        if is_behind(wanted=control.revision, reported=watched.revision):
            watched.sent = control.revision
            message = ControlMessage(
                trial=objects.identity_of(watched),
                revision=control.revision,
                learning_rate_scale=control.scale,
                begin_decay=control.begin_decay,
                restore=control.restore,
            )
            watched.sending = site.scraper.begin(_send(site, message, to=watched.url))
            sent.append(watched.sending)
    if sent:
        await asyncio.wait(sent, timeout=site.scraper.patience)


async def _send(site: Site, message: ControlMessage, *, to: str) -> None:
    problem = await site.steering.send(to, message)
    if problem is not None:
        _log.info("a control message to %s was not taken: %s", message.trial, problem)
