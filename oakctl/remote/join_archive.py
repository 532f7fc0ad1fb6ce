"""Makes the program that a machine's owner runs to join: one file, with all that it takes.

It is a Python zip application: the node archive, what carries out the playbooks of a worker, and
the token. Belongs here: what is in it. Does not belong here: what it does (`joining`), and where
the file is written (`cli.worker_token`).
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from oakctl.model import wire
from oakctl.model.tokens import JoinFile
from oakctl.remote import bundle, resources
from oakctl.remote.bundle import CARRIED, PACKAGE

# What runs the steps without SSH: none of these imports the operator's libraries.
PARTS = (
    "paths.py",
    *(
        f"remote/{name}.py"
        for name in (
            "__init__", "answers", "bundle", "changes", "declared", "detached", "equipment",
            "facts", "inputs", "interpreter", "joining", "local", "manifest", "outline",
            "overlay_choice", "overlay_host", "packages", "playbook", "python_archive",
            "python_cache", "questions", "release", "residence", "resources", "runner", "step",
            "supervisor", "systemd", "threads", "wireguard",
        )
    ),
)  # fmt: skip
PLAYBOOKS = ("base", "overlay", "python", "worker", "uninstall")
TOLD = "join.json"

# Old Pythons have to understand this much, to say that they are old.
MAIN = b'''"""Makes this machine a worker of an oakctl cluster; --help says of which."""
import sys

if sys.version_info < (3, 10):
    sys.stderr.write(
        "this needs Python 3.10 or newer, and is run by %d.%d (%s)\\n"
        % (sys.version_info[0], sys.version_info[1], sys.executable)
    )
    sys.exit(1)

import os
import shutil
import tempfile
import zipfile

program = sys.path[0]
folder = tempfile.mkdtemp(prefix="oakctl-join-")
try:
    lib = os.path.join(folder, "lib")
    with zipfile.ZipFile(program) as archive:
        node = archive.extract("oakctl/_data/oakctl-node.pyz", lib)
        for name in archive.namelist():
            if name.startswith("oakctl/"):
                archive.extract(name, lib)
        told = archive.read("join.json")
    with zipfile.ZipFile(node) as archive:
        archive.extractall(lib)
    sys.path[0] = lib
    sys.dont_write_bytecode = True
    from oakctl.model import wire
    from oakctl.model.tokens import JoinFile
    from oakctl.remote.joining import main

    code = main(sys.argv[1:], os.path.abspath(program), wire.decode(told, JoinFile))
finally:
    shutil.rmtree(folder, ignore_errors=True)
sys.exit(code)
'''


def build(told: JoinFile) -> bytes:
    """The program for one token; raises OakError as `bundle.build` does."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__main__.py", MAIN)
        archive.writestr(TOLD, wire.encode(told))
        for name, file in _files().items():
            archive.write(file, f"oakctl/{name}")
        # It is packed already.
        archive.write(bundle.build(), f"oakctl/_data/{CARRIED}", zipfile.ZIP_STORED)
    return buffer.getvalue()


def _files() -> dict[str, Path]:
    playbooks = resources.data("playbooks")
    return {part: PACKAGE / part for part in PARTS} | {
        f"_data/playbooks/{name}.py": playbooks / f"{name}.py" for name in PLAYBOOKS
    }
