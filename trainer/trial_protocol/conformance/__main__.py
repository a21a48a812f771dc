"""The command ``python -m trial_protocol.conformance``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from trial_protocol.conformance import check_trial


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if the trial passed every check, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m trial_protocol.conformance", description="Check a running trial against the contract."
    )
    parser.add_argument("url", help="where the trial serves, such as http://127.0.0.1:8080")
    parser.add_argument(
        "--trial", required=True, help="its identity (TUNING_IDENTITY, or TUNING_TRIAL where that is not set)"
    )
    parser.add_argument("--key", required=True, type=Path, help="file with the PEM of the private control key")
    parser.add_argument("--objective", help="metric that it must report")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds to wait for training steps")
    parsed = parser.parse_args(arguments)
    results = check_trial(
        parsed.url,
        trial=parsed.trial,
        private_key=parsed.key.read_text(),
        objective=parsed.objective,
        patience=parsed.patience,
    )
    for result in results:
        sys.stdout.write(f"{'ok    ' if result.passed else 'FAILED'} {result.name}: {result.sentence}\n")
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
