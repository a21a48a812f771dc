"""The request to end: SIGTERM sets a flag, and the training loop ends at its next step boundary."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Termination:
    """Remembers SIGTERM and passes it on to whoever handled it before.

    Python takes signal handlers in the main thread only; started in another, `requested` stays False and the process
    ends at SIGTERM as it would have.
    """

    def __init__(self) -> None:
        self.requested = False
        self._watching = False
        self._earlier: signal._HANDLER = None

    def watch(self) -> None:
        """Install the handler, in the main thread."""
        if threading.current_thread() is threading.main_thread():
            self._earlier = signal.signal(signal.SIGTERM, self._handle)
            self._watching = True

    def release(self) -> None:
        """Give SIGTERM back to its earlier handler, unless someone else has taken it since."""
        if self._watching and threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGTERM) == self._handle:
                signal.signal(signal.SIGTERM, signal.SIG_DFL if self._earlier is None else self._earlier)
            self._watching = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if callable(self._earlier):
            self._earlier(number, frame)
