"""`python -m oakctl.node`: which of our processes on a host this one shall be."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import oakctl
from oakctl.errors import ExitCode, OakError

OLDEST_PYTHON = (3, 10)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="oakctl-node", description="oakctl on a node")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (("worker", "the node agent"), ("cluster", "the cluster orchestrator")):
        process = commands.add_parser(name, help=text)
        process.add_argument("--config", required=True, metavar="FILE")
    relay = commands.add_parser("relay", help="the relay of the loopback overlay")
    relay.add_argument("--state", required=True, metavar="DIR")
    relay.add_argument("--number", required=True, type=int, metavar="N")
    clear = commands.add_parser("clear", help="end the instances of a worker whose agent is gone")
    clear.add_argument("--prefix", required=True, metavar="DIR")
    commands.add_parser("version", help="print the version")
    unit = commands.add_parser("unit", help="ask the plain supervisor of this host")
    operations = unit.add_subparsers(dest="operation", required=True, metavar="OPERATION")
    put = operations.add_parser("put", help="store a unit and run it")
    put.add_argument("file", metavar="FILE", help="JSON of the unit; - reads standard input")
    for name in ("start", "stop", "restart", "remove"):
        operations.add_parser(name).add_argument("name", metavar="UNIT")
    operations.add_parser("status").add_argument("name", nargs="?", default="", metavar="UNIT")
    return parser


def _worker(arguments: argparse.Namespace) -> int:
    from oakctl.orchestration.worker.process import main as run

    return run(arguments.config)


def _cluster(arguments: argparse.Namespace) -> int:
    from oakctl.orchestration.cluster.process import main as run

    return int(run(arguments.config) or 0)


def _relay(arguments: argparse.Namespace) -> int:
    from oakctl.overlay.loopback.relay import main as run

    return run(["--state", arguments.state, "--number", str(arguments.number)])


def _clear(arguments: argparse.Namespace) -> int:
    from oakctl.orchestration.worker.clear import clear, clear_containers

    containers = clear_containers(arguments.prefix)
    words = f"{clear(arguments.prefix)} processes ended"
    sys.stdout.write(f"{words}, {containers} containers removed\n" if containers else f"{words}\n")
    return 0


def _unit(arguments: argparse.Namespace) -> int:
    from oakctl.node.unit import main as run

    return run(arguments.operation, getattr(arguments, "file", ""), getattr(arguments, "name", ""))


def _version(_: argparse.Namespace) -> int:
    sys.stdout.write(f"{oakctl.__version__}\n")
    return 0


COMMANDS = {
    "worker": _worker,
    "cluster": _cluster,
    "relay": _relay,
    "clear": _clear,
    "unit": _unit,
    "version": _version,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one process or command; returns its exit code. Errors go to standard error."""
    if sys.version_info[:2] < OLDEST_PYTHON:
        sys.stderr.write(
            f"oakctl-node: needs Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer, this is "
            f"{sys.version_info[0]}.{sys.version_info[1]} ({sys.executable})\n"
        )
        return int(ExitCode.FAILED)
    arguments = _parser().parse_args(argv)
    try:
        return COMMANDS[arguments.command](arguments)
    except OakError as error:
        for line in (error.message, *error.details):
            sys.stderr.write(f"oakctl-node: {line}\n")
        if error.hint:
            sys.stderr.write(f"oakctl-node: next: {error.hint}\n")
        return int(error.exit_code)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
