"""Where an image to push comes from: a file, or this machine's Docker.

Belongs here: telling one from the other, and `docker save`. Docker's own program is asked, so that
its contexts and DOCKER_HOST hold. Does not belong here: what is in the archive (`image_archive`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from oakctl import paths
from oakctl.errors import NotFound, OakError, Unreachable, UsageError

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
INSPECT_S = 60.0
SAVE_S = 3600.0
TELL_EVERY_S = 2.0


def is_file(given: str) -> bool:
    """Whether a file is meant, and not the name of an image."""
    return given.endswith(ENDINGS) or given.startswith(("/", "./", "../", "~"))


@asynccontextmanager
async def archive(given: str, progress: Callable[[int], None]) -> AsyncIterator[Path]:
    """The archive of what is given; one that was made for this goes at the end of the block.

    `progress` hears how many bytes Docker has written. Raises NotFound, Unreachable, OakError.
    """
    if is_file(given):
        yield Path(given).expanduser()
        return
    if given.startswith("-") or not given:
        raise UsageError(f"{given!r} is neither a file nor the name of an image")
    with staging() as folder:
        target = folder / "image.tar"
        await _docker("image", "inspect", "--format", "{{.Id}}", given, deadline_s=INSPECT_S)
        saving = _docker("save", "--output", str(target), given, deadline_s=SAVE_S)
        work = asyncio.ensure_future(saving)
        try:
            while not (await asyncio.wait({work}, timeout=TELL_EVERY_S))[0]:
                progress(_written(folder))
            await work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        yield target


@contextlib.contextmanager
def staging() -> Iterator[Path]:
    """A folder for large files, on the disk that our cache is on; it goes afterwards."""
    base = paths.cache_directory() / "images"
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="push-", dir=base) as folder:
        yield Path(folder)


def _written(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())  # Docker's own name for it, too


async def _docker(*words: str, deadline_s: float) -> None:
    program = shutil.which("docker")
    if program is None:
        raise NotFound(
            "there is no Docker on this machine to take the image from",
            hint="where it is: docker save IMAGE -o FILE.tar; here: oakctl image push FILE.tar",
        )
    process = await asyncio.create_subprocess_exec(
        program,
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
    )
    try:
        _, said = await asyncio.wait_for(process.communicate(), deadline_s)
    except TimeoutError:
        raise OakError(f"docker {words[0]} has not ended after {deadline_s:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise _failure(words, " ".join(said.decode(errors="replace").split())[-300:])


def _failure(words: tuple[str, ...], said: str) -> OakError:
    name = words[-1]
    if "No such image" in said or "reference does not exist" in said:
        return NotFound(
            f"Docker on this machine has no image {name}",
            hint="docker image ls shows what it has; docker pull or docker build makes one",
        )
    if "daemon" in said or "docker.sock" in said or "permission denied" in said:
        return Unreachable(
            f"Docker on this machine does not answer: {said}",
            hint="start it, or give a file: oakctl image push FILE.tar",
        )
    return OakError(f"docker {words[0]} {name} failed: {said}")
