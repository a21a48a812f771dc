"""Takes a test bed down when its owner, who holds the other end of standard input, is gone.

A killed or timed-out test run never reaches its own clean-up, but the kernel closes its pipes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.testbed.instance import Instance


def main() -> None:
    """Wait for the end of standard input, then take down what is still up."""
    sys.stdin.buffer.read()
    instance = Instance.load(Path(sys.argv[1]))
    if instance is not None:
        instance.take_down()


if __name__ == "__main__":
    main()
