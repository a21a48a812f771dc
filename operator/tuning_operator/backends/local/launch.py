"""Becomes a trial's process, after asking the kernel to end it together with the runner.

    python -I -S launch.py RUNNER_PID COMMAND [ARGUMENT ...]

A runner that is killed cannot end its trials any more, so the kernel does: SIGTERM, at which a trial writes its
checkpoint and goes (prctl, PR_SET_PDEATHSIG). It holds for this very process; what it starts itself is found by the
next runner (`leftovers`). The standard library alone and none of ours, because every trial waits for it.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Replace this process by the command."""
    runner, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != runner:
        sys.exit(128 + signal.SIGTERM)
    for name in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(name, signal.SIG_DFL)  # Python ignores them, and what is ignored stays ignored.
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"tuning: {command[0]} cannot be run: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
