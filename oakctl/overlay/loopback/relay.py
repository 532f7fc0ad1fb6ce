"""The relay's command line: `relay --state DIR --number N`.

DIR is the state directory of the host's prefix, N its loopback number. Does not belong here:
forwarding (`forward`).
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from oakctl.overlay.loopback.files import AnotherRelay
from oakctl.overlay.loopback.forward import Relay


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the relay until it is told to end; the exit code."""
    parser = argparse.ArgumentParser(prog="relay", description="Carry services on 127/8.")
    parser.add_argument("--state", type=Path, required=True, help="the prefix's state directory")
    parser.add_argument("--number", type=int, required=True, help="the host's loopback number")
    options = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    _raise_descriptor_limit()
    try:
        Relay(options.state, options.number).run()
    except AnotherRelay as error:
        logging.getLogger("oakctl.relay").error("%s; stop it first", error)
        return 1
    return 0


def _raise_descriptor_limit() -> None:
    """Two descriptors go with each connection: take as many as we may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
