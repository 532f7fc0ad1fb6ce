"""Which stage this process is, and its life: started, told to end, ended."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import threading

from ar import settings
from ar.scene import Unusable

STAGES = ("pre", "obj", "rec", "client")


def main() -> None:
    """Run the stage that the first argument names until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    log = logging.getLogger("ar")
    if len(sys.argv) != 2 or sys.argv[1] not in STAGES:
        sys.exit(f"usage: main.py {'|'.join(STAGES)}")
    name = sys.argv[1]
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        told = settings.read(os.environ)
        log.info("%s on %s", name, told.bind)
        importlib.import_module(f"ar.{name}").run(told, stop)
    except (settings.WrongSetting, Unusable, OSError) as error:
        sys.exit(f"{name}: {error}")
    log.info("%s ended", name)
