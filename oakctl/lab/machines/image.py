"""Base images: made once by debootstrap, kept in the cache, never changed afterwards.

Belongs here: building one aside and putting it in place whole. Does not belong here: what is in
it (`recipe`), and hosts (`machine`).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from oakctl import paths
from oakctl.errors import DeadlineExceeded, OakError
from oakctl.lab.machines import emulation, sources
from oakctl.lab.machines.recipe import SECOND_STAGE, Recipe
from oakctl.lab.machines.shell import STEP_S, Shell, unmount_below

BUILD_S = 3600.0  # a slow mirror and a busy machine
FINISH_S = 600.0  # seconds, unless emulated
LOG = "debootstrap/debootstrap.log"


def directory() -> Path:
    """Where base images are kept."""
    return paths.cache_directory() / "lab"


async def ensure(
    shell: Shell, recipe: Recipe, mirror: str, progress: Callable[[str], None]
) -> Path:
    """The image of `recipe`, made when it is not there; raises OakError.

    `mirror` empty: the archive that this machine's apt uses.
    """
    image = directory() / recipe.key
    if image.exists():
        return image
    directory().mkdir(parents=True, exist_ok=True)
    async with _lock(recipe.key):
        if not image.exists():
            began = time.monotonic()
            kind = f" for {recipe.foreign}, emulated," if recipe.foreign else ""
            progress(f"installing Debian {recipe.suite.value}{kind} as a base (once, some minutes)")
            await _build(shell, recipe, mirror or sources.own_mirror(), image)
            progress(f"base {recipe.key} took {time.monotonic() - began:.0f} s")
    return image


def drafts() -> list[Path]:
    """What builds have not finished, or never will."""
    return list(directory().glob(".*.new"))


async def sweep(shell: Shell) -> None:
    """Take away what interrupted builds left; images and builds under way stay."""
    for draft in drafts():
        key = draft.name[1 : -len(".new")]
        with _lock_file(key) as lock:
            if _try(lock):
                await _discard(shell, draft)


async def _build(shell: Shell, recipe: Recipe, mirror: str, image: Path) -> None:
    draft = image.with_name(f".{recipe.key}.new")
    await _discard(shell, draft)
    try:
        await _install(shell, recipe, draft, mirror)
    except OakError as error:
        log = draft / LOG
        lines = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
        raise type(error)(
            f"Debian {recipe.suite.value} can't be installed from {mirror}",
            hint="see whether `apt-get update` works here; lab.yaml takes `mirror: URL`",
            details=(*error.details, *lines),
        ) from error
    await unmount_below(shell, draft)
    draft.chmod(0o755)
    draft.rename(image)


async def _install(shell: Shell, recipe: Recipe, draft: Path, mirror: str) -> None:
    proxy = await _proxy(shell)
    await shell.run(recipe.debootstrap(str(draft), mirror), timeout_s=BUILD_S, more=proxy)
    async with emulation.ready(shell, emulation.needed(recipe)):
        if recipe.foreign:
            _shorten_indices(draft)
            await shell.run(("chroot", str(draft), *SECOND_STAGE), timeout_s=BUILD_S)
        await shell.run(("chroot", str(draft), "/bin/sh"), stdin=recipe.finish, timeout_s=FINISH_S)


def _shorten_indices(draft: Path) -> None:
    """Leave what is installed in the archive's index.

    The second stage reads all of it once for each of some hundred packages: emulated, with the
    70,000 packages of a release, that is hours.
    """
    lists = [draft / "debootstrap" / name for name in ("required", "base")]
    packages = {package for file in lists for package in file.read_text().split()}
    for index in (draft / "var/lib/apt/lists").glob("*_Packages"):
        index.write_text(sources.only(index.read_text(), packages))


async def _discard(shell: Shell, draft: Path) -> None:
    # debootstrap mounts proc and sys in there, and removing those would be a disaster.
    await unmount_below(shell, draft)
    if draft.exists():
        shutil.rmtree(draft)


async def _proxy(shell: Shell) -> dict[str, str]:
    """apt's proxies in the words of debootstrap's downloader."""
    found = {}
    for scheme in ("http", "https"):
        # Printed as a format says: `shell` would give an assignment to be evaluated.
        text = await shell.run(
            ("apt-config", "dump", "--format", "%v%n", f"Acquire::{scheme}::Proxy")
        )
        value = text.strip().splitlines()[0] if text.strip() else ""
        if value and value.upper() != "DIRECT":
            found[f"{scheme}_proxy"] = value
    return found


@contextmanager
def _lock_file(key: str) -> Iterator[int]:
    descriptor = os.open(directory() / f".{key}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@asynccontextmanager
async def _lock(key: str) -> AsyncIterator[None]:
    """One build of an image at a time; the others wait for it and use what it made."""
    with _lock_file(key) as descriptor:
        deadline = time.monotonic() + BUILD_S
        while not _try(descriptor):
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"another oakctl did not finish the base image {key} within {BUILD_S:.0f} s",
                    hint=f"find it with `fuser {directory()}/.{key}.lock`",
                )
            await asyncio.sleep(STEP_S)
        yield


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
