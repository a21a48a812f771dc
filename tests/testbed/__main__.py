"""The test bed for a person: `python -m tests.testbed up`, `down`, `status` and `build`."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from tests.testbed import binaries
from tests.testbed.cache import CACHE_VARIABLE, cache_folder
from tests.testbed.errors import TestbedError
from tests.testbed.instance import Instance, clean_up, instances
from tests.testbed.sizes import SIZES

_EXAMPLES = """examples:
  python -m tests.testbed up                        a cluster with one real node (root)
  python -m tests.testbed up --size control-plane   an API server without nodes
  python -m tests.testbed status                    what is up, its KUBECONFIG and its logs
  python -m tests.testbed down                      end everything that `up` started
  python -m tests.testbed build helm kubectl        print where these are, building what is missing
"""


def main() -> int:
    """Do what the command line says."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    arguments = _parser().parse_args()
    try:
        if arguments.command == "up":
            _up(arguments.size)
        elif arguments.command == "down":
            _down()
        elif arguments.command == "build":
            for path in binaries.binaries(arguments.names).values():
                _say(str(path))
        else:
            _status()
    except TestbedError as error:
        logging.error("%s", error)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.testbed",
        description="A real Kubernetes for tests: nothing is installed, and what was started is ended by `down`. "
        f"Binaries are kept in {cache_folder()} ({CACHE_VARIABLE} moves it).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start a test bed that stays up until `down`")
    sizes = "; ".join(f"{size.name}: {size.description}" for size in SIZES.values())
    up.add_argument("--size", choices=sorted(SIZES), default="cluster", help=f"{sizes} (default: cluster)")
    commands.add_parser("down", help="end every test bed that `up` started, and what crashed test runs left")
    commands.add_parser("status", help="list the test beds that are up")
    build = commands.add_parser("build", help="find or build programs, and print their paths")
    build.add_argument(
        "names", nargs="+", choices=sorted(binaries.NAMES), metavar="NAME", help=", ".join(binaries.NAMES)
    )
    return parser


def _up(name: str) -> None:
    size = SIZES[name]
    clean_up()
    for instance in instances():
        if instance.persistent and instance.size == name and not instance.healthy:
            logging.info("Taking down a %s of which not everything runs any more.", name)
            instance.take_down()
        elif instance.persistent and instance.size == name:
            logging.info("Already up.")
            _describe(instance)
            return
    if reason := size.missing_reason():
        raise TestbedError(f"this machine cannot run a {name}: {reason}")
    size.prepare()
    started = time.monotonic()
    plane = size.start(True)
    logging.info("Up in %.1f s.", time.monotonic() - started)
    _describe(plane.instance)


def _down() -> None:
    clean_up()
    mine = [instance for instance in instances() if instance.persistent]
    for instance in mine:
        instance.take_down()
        logging.info("%s is down; its logs stay in %s", instance.size, instance.logs)
    if not mine:
        logging.info("Nothing is up.")


def _status() -> None:
    found = list(instances())
    for instance in found:
        _describe(instance)
    if not found:
        logging.info("Nothing is up.")


def _describe(instance: Instance) -> None:
    dead = [process.name for process in instance.processes if not process.alive()]
    whose = "started by `up`" if instance.persistent else f"of process {instance.record['owner']['pid']}"
    logging.info(
        "%s, %s%s; logs: %s", instance.size, whose, f"; ENDED: {', '.join(dead)}" if dead else "", instance.logs
    )
    _say(f"export KUBECONFIG={instance.kubeconfig}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
