"""Programs of another architecture on this machine: qemu, told to the kernel (binfmt_misc).

Belongs here: registering the emulator, and taking that back when its last user is gone. Both
follow from the kernel's state alone: the entry and the mount carry our name, and who uses the
emulator is seen from the processes. Does not belong here: what is run in it (`image`, `machine`).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from oakctl.errors import DeadlineExceeded, OakError
from oakctl.lab.machines.recipe import Recipe
from oakctl.lab.machines.shell import PATH, STEP_S, Shell, mounts_below

DIRECTORY = Path("/proc/sys/fs/binfmt_misc")
MARK = "oakctl-lab"  # of the entry and of the mount that labs made
PACKAGE = "qemu-user-static"
LOCK_S = 60.0
# F: opened when registered, so that it is there in another root; C: `sudo` stays setuid.
FLAGS = "OCF"
_ELF_HEADER = 4096  # within it a dynamic program names its loader


@dataclass(frozen=True)
class Emulator:
    """What runs the programs of `architecture` (as `uname -m` says it), and how they begin."""

    architecture: str
    programs: tuple[str, ...]
    magic: str  # hexadecimal, as the mask
    mask: str

    @property
    def entry(self) -> str:
        """The name that labs register it by."""
        return f"{MARK}-{self.architecture}"


AARCH64 = Emulator(
    "aarch64",
    ("qemu-aarch64-static", "qemu-aarch64"),
    "7f454c460201010000000000000000000200b700",
    "ffffffffffffff00fffffffffffffffffeffffff",
)
EMULATORS = {AARCH64.architecture: AARCH64}


def registration(emulator: Emulator, interpreter: str) -> str:
    """The line that the kernel's `register` takes. Pure."""

    def escaped(digits: str) -> str:
        return "".join(f"\\x{digits[i : i + 2]}" for i in range(0, len(digits), 2))

    magic, mask = escaped(emulator.magic), escaped(emulator.mask)
    return f":{emulator.entry}:M::{magic}:{mask}:{interpreter}:{FLAGS}"


def serves(entry: str, emulator: Emulator) -> bool:
    """Whether an entry as the kernel shows it does for a lab's hosts. Pure."""
    lines = entry.splitlines()
    flags = next((line.removeprefix("flags:") for line in lines if line.startswith("flags:")), "")
    return (
        "enabled" in lines[:1] and f"magic {emulator.magic}" in lines and {"F", "C"} <= set(flags)
    )


def interpreter(emulator: Emulator) -> str | None:
    """The emulator on this machine; None where there is none that works in another root."""
    for program in emulator.programs:
        found = shutil.which(program, path=PATH)
        if found:
            path = Path(found).resolve()
            with path.open("rb") as file:
                if b"/ld-linux" not in file.read(_ELF_HEADER):
                    return str(path)
    return None


def needed(base: Recipe) -> Emulator | None:
    """What runs the programs of an image on this machine; None where it does so itself."""
    return EMULATORS[base.architecture] if base.foreign else None


@asynccontextmanager
async def ready(shell: Shell, emulator: Emulator | None) -> AsyncIterator[None]:
    """While it is held, programs for `emulator` run on this machine; None is no emulation.

    What it registers stays until `release`. Raises OakError where the kernel or the emulator
    is missing.
    """
    if emulator is None:
        yield
        return
    descriptor = await _hold(shell)
    try:
        if not any(serves(entry.read_text(), emulator) for entry in _entries()):
            await _register(shell, emulator)
        yield
    finally:
        os.close(descriptor)


def is_left() -> bool:
    """Whether something is registered or mounted by labs."""
    return _mounted() and (_is_ours() or any(_registered(each) for each in EMULATORS.values()))


async def release(shell: Shell) -> None:
    """Take back what labs registered and mounted, unless one of them uses it still."""
    if not is_left():
        return
    descriptor = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not _try(descriptor, fcntl.LOCK_EX):
            return  # a lab that is at work on it takes it back in the end
        for emulator in EMULATORS.values():
            if _registered(emulator) and not _in_use(emulator):
                await _write(shell, DIRECTORY / emulator.entry, "-1")
        while _mounted() and _is_ours() and not _entries():
            # Lazily, because of the lock that is held on it.
            await shell.run(("umount", "--lazy", str(DIRECTORY)))
    finally:
        os.close(descriptor)


async def _register(shell: Shell, emulator: Emulator) -> None:
    program = interpreter(emulator)
    if program is None:
        raise OakError(
            f"there is no static {emulator.programs[0]} on this machine",
            hint=f"apt-get install {PACKAGE}",
        )
    if _registered(emulator):  # switched off, or of an interpreter that went away
        await _write(shell, DIRECTORY / emulator.entry, "-1")
    await _write(shell, DIRECTORY / "register", registration(emulator, program))


async def _write(shell: Shell, file: Path, text: str) -> None:
    # By `dd`, as one write, which is how the kernel takes it; its errors name the file.
    await shell.run(("dd", f"of={file}", "bs=4096", "status=none"), stdin=text)


async def _hold(shell: Shell) -> int:
    """Keep `release` of others away, and see that binfmt_misc is mounted."""
    deadline = time.monotonic() + LOCK_S
    while True:
        if not _mounted():
            await _mount(shell)
        descriptor = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY)
        # Another one may have unmounted it between; then this is a directory of /proc.
        if _try(descriptor, fcntl.LOCK_SH) and _same(descriptor) and _mounted():
            return descriptor
        os.close(descriptor)
        if time.monotonic() > deadline:
            raise DeadlineExceeded(
                f"another lab holds {DIRECTORY} for more than {LOCK_S:.0f} s",
                hint=f"find it with `fuser {DIRECTORY}`",
            )
        await asyncio.sleep(STEP_S)


async def _mount(shell: Shell) -> None:
    try:
        await shell.run(("mount", "-t", "binfmt_misc", MARK, str(DIRECTORY)))
    except OakError as error:
        raise OakError(
            "this kernel runs no programs of other architectures (binfmt_misc)",
            hint="leave `arch` out of lab.yaml",
            details=error.details,
        ) from error


def _mounted() -> bool:
    return (DIRECTORY / "register").exists()


def _is_ours() -> bool:
    """Whether labs mounted it: the source of its newest mount says so."""
    if not mounts_below(DIRECTORY):
        return False
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    newest = next(line for line in reversed(lines) if line.split()[4] == str(DIRECTORY))
    return newest.partition(" - ")[2].split()[1] == MARK


def _entries() -> list[Path]:
    return [path for path in DIRECTORY.iterdir() if path.name not in ("register", "status")]


def _registered(emulator: Emulator) -> bool:
    return (DIRECTORY / emulator.entry).exists()


def _in_use(emulator: Emulator) -> bool:
    return any(_runs_in(Path(process), emulator) for process in _processes())


def _processes() -> list[Path]:
    return [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _runs_in(process: Path, emulator: Emulator) -> bool:
    try:
        program = str((process / "exe").readlink()).removesuffix(" (deleted)")
    except OSError:  # gone meanwhile, or one of the kernel's
        return False
    return Path(program).name in emulator.programs


def _same(descriptor: int) -> bool:
    return os.path.samestat(os.fstat(descriptor), DIRECTORY.stat())


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
