"""What is kept of a fault of the program itself.

Belongs here: writing the traceback down. Does not belong here: telling about it.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
import traceback
from pathlib import Path

from oakctl import __version__, paths


def keep(error: BaseException) -> Path:
    """The file (0600, in the state directory) that has the traceback of `error`.

    Values of variables are not in it. Raises OakError or OSError when it cannot be written.
    """
    directory = paths.private_directory(paths.state_directory())
    stamp = time.strftime("%Y%m%dT%H%M%S")
    descriptor, name = tempfile.mkstemp(".txt", f"crash-{stamp}-", directory)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"oakctl {__version__}, Python {platform.python_version()}\n\n")
        file.writelines(traceback.format_exception(error))
    return Path(name)
