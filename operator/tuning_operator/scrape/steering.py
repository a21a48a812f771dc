"""Sends control messages to running trials, signed, again and again until the trial reports their revision."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from trial_protocol import names
from trial_protocol.control import ControlMessage, sign_control
from trial_protocol.errors import ControlRefused
from tuning_operator.errors import ScrapeError
from tuning_operator.scrape.fetch import Answer, Fetcher

LIFETIME: Final = 60.0
"""Seconds for which a message counts; it is sent again at every look, so a lost one needs no longer life."""


class Sent(StrEnum):
    """What became of a message."""

    TAKEN = "taken"
    REFUSED = "refused"
    """The trial answered, and said no."""
    UNREACHED = "unreached"
    """It did not answer: it is starting, it has just ended, or something is in the way."""


class Steering:
    """Signs and sends.

    Args:
        private_key: PEM of the Ed25519 key whose public half the trials were given.
        clock: Seconds since the epoch.
        observe: Told of each message what became of it.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        *,
        private_key: str,
        clock: Callable[[], float] = time.time,
        observe: Callable[[Sent], None] = lambda _sent: None,
    ) -> None:
        self._fetcher = fetcher
        self._private_key = private_key
        self._clock = clock
        self._observe = observe

    def sign(self, message: ControlMessage) -> str:
        """Return the token of a message, for the environment of a trial that is about to start.

        Raises:
            ControlRefused: No trial would take this message; the text names the field.
        """
        return sign_control(message, private_key=self._private_key, now=self._clock(), lifetime=LIFETIME)

    async def send(self, url: str, message: ControlMessage) -> str | None:
        """Send a message; None when it was taken, else why not. Sending it twice changes nothing."""
        sent, problem = await self._send(url, message)
        self._observe(sent)
        return problem

    async def _send(self, url: str, message: ControlMessage) -> tuple[Sent, str | None]:
        try:
            answer = await self._fetcher.put(url.rstrip("/") + names.PATH_CONTROL, self.sign(message))
        except ControlRefused as error:
            return Sent.REFUSED, str(error)
        except ScrapeError as error:
            return Sent.UNREACHED, str(error)
        return (Sent.TAKEN, None) if answer.status == 200 else (Sent.REFUSED, _refusal(answer))


def is_behind(*, wanted: int, reported: int | None) -> bool:
    """Whether a message is to be sent: the trial has not yet reported the wanted revision."""
    return wanted > (reported or 0)


def _refusal(answer: Answer) -> str:
    if answer.status in (404, 405, 501):
        return f"answered {answer.status}: this trial takes no control messages"
    try:
        said = json.loads(answer.body)
        return f"refused ({said['reason']}): {said['message']}"[:300]
    except (ValueError, KeyError, TypeError):
        return f"answered {answer.status}: {' '.join(answer.body.split())[:200]}"
