"""Sessions with containers: commands in them, files into them and out of them.

Belongs here: Docker's side of a session. Does not belong here: how its bytes travel
(`orchestration.sessions`). A command's connection to Docker is made here and not by the SDK, which
drops what comes in one piece with the answer's head.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import stat
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO, Any

import docker
import requests.exceptions
import urllib3.exceptions

from oakctl.model.sessions import (
    PIECE,
    STDERR,
    STDIN,
    STDOUT,
    Broken,
    Closed,
    Data,
    Ended,
    Resized,
    SessionRequest,
)
from oakctl.orchestration.copying import Refused
from oakctl.orchestration.sessions import Session, alongside, stop
from oakctl.orchestration.worker import procfs
from oakctl.orchestration.worker.docker.driver import Driver
from oakctl.orchestration.worker.docker.engine import Engine
from oakctl.orchestration.worker.docker.errors import EngineAway, EngineRefused
from oakctl.orchestration.worker.docker.seen import key_of_record
from oakctl.orchestration.worker.record import Record
from oakctl.orchestration.worker.sessions import descriptors

log = logging.getLogger("oakctl.worker.docker")

COPY_S = 24 * 3600.0
SILENT_S = 600.0
LARGEST_HEAD = 16384
HANGS_UP_S = 1.0
IS_DIRECTORY = 1 << 31  # in the mode that Docker tells of a path
_FRAME = struct.Struct(">BxxxI")


class Executions:
    """Sessions with the containers of one driver, behind `socket`."""

    def __init__(self, driver: Driver, socket: str) -> None:
        self._driver = driver
        self._socket = socket

    async def run(self, session: Session, known: Record, request: SessionRequest) -> Ended:
        """Run a command in the instance's container until it ends; raises Broken."""
        try:
            id_, engine = self._container(known)
            made = await self._call(engine, lambda client: _create(client, id_, request))
            reader, writer = await self._start(engine, made, request.tty)
        except (EngineAway, EngineRefused, OSError) as error:
            return Ended(1, f"Docker: {error}")
        try:
            await self._carry(session, request, engine, made, reader, writer)
            return await self._end_of(engine, made)
        except (Broken, asyncio.CancelledError):
            await self._kill(engine, made)
            raise
        except (EngineAway, EngineRefused, OSError) as error:
            return Ended(1, f"Docker: {error}")
        finally:
            writer.close()

    async def copy_out(self, session: Session, known: Record, path: str) -> Ended:
        """Send a file or directory of the container as a tar; raises Broken."""

        def work(client: Any, id_: str, pipe: int) -> None:
            with os.fdopen(pipe, "wb") as stream:
                for chunk in client.get_archive(id_, _absolute(path), chunk_size=PIECE)[0]:
                    stream.write(chunk)

        ours, theirs = os.pipe()
        os.set_blocking(ours, False)

        async def carry() -> None:
            outward = descriptors.copy(ours, lambda data: session.write(STDOUT, data))
            await alongside(session, outward)

        return await self._copied(session, known, work, theirs, ours, carry)

    async def copy_in(self, session: Session, known: Record, path: str) -> Ended:
        """Take a tar into the container; raises Broken."""

        def work(client: Any, id_: str, pipe: int) -> None:
            with os.fdopen(pipe, "rb") as stream:
                place, name = _place(client, id_, _absolute(path))
                client.put_archive(id_, place, _renamed(stream, name))

        theirs, ours = os.pipe()
        os.set_blocking(ours, False)

        async def carry() -> None:
            with contextlib.suppress(BrokenPipeError):  # why is what the thread says
                while isinstance(event := await session.read(), Data):
                    await descriptors.write(ours, event.data)
                if isinstance(event, Ended):
                    raise Broken("the other side ended it")

        return await self._copied(session, known, work, theirs, ours, carry)

    async def _copied(
        self,
        session: Session,
        known: Record,
        work: Callable[[Any, str, int], None],
        theirs: int,
        ours: int,
        carry: Callable[[], Any],
    ) -> Ended:
        """Let a thread do `work` with its end of a pipe, while `carry` serves ours."""
        thread: asyncio.Future[None] | None = None
        try:
            id_, engine = self._container(known)
            thread = asyncio.ensure_future(
                self._call(engine, lambda client: work(client, id_, theirs), COPY_S)
            )
            await carry()
        except (EngineAway, EngineRefused) as error:
            os.close(theirs)
            return Ended(1, f"Docker: {error}")
        except BaseException:
            if thread is not None:
                thread.cancel()
            raise
        finally:
            os.close(ours)
        try:
            await thread
        except (EngineAway, EngineRefused, Refused, tarfile.TarError, OSError) as error:
            return Ended(1, str(error))
        return Ended()

    def _container(self, known: Record) -> tuple[str, Engine]:
        found, engine = self._driver.seen.get(key_of_record(known)), self._driver.engine
        if engine is None:
            raise EngineAway(self._driver.trouble)
        if found is None or not found.lives:
            raise EngineRefused("its container does not run")
        return found.id, engine

    async def _call(
        self,
        engine: Engine,
        function: Callable[[Any], Any],
        deadline_s: float = 30.0,
    ) -> Any:
        def work() -> Any:
            with _told():
                client = docker.APIClient(
                    base_url=f"unix://{self._socket}", version=engine.facts.api, timeout=SILENT_S
                )
                with contextlib.closing(client):
                    return function(client)

        return await self._driver.calls.run_long(work, what="a session", deadline_s=deadline_s)

    async def _start(
        self, engine: Engine, id_: str, tty: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(self._socket, limit=LARGEST_HEAD)
        try:
            body = json.dumps({"Detach": False, "Tty": tty}).encode()
            head = (
                f"POST /v{engine.facts.api}/exec/{id_}/start HTTP/1.1",
                *("Host: docker", "Content-Type: application/json"),
                *("Connection: Upgrade", "Upgrade: tcp", f"Content-Length: {len(body)}", "", ""),
            )
            writer.write("\r\n".join(head).encode() + body)
            await writer.drain()
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30.0)
            if answer.split()[1:2] not in ([b"101"], [b"200"]):
                said = await asyncio.wait_for(reader.read(LARGEST_HEAD), 30.0)
                raise EngineRefused(said.decode(errors="replace").strip())
        except BaseException as error:
            writer.close()
            if isinstance(error, asyncio.IncompleteReadError | asyncio.TimeoutError):
                raise EngineAway("it does not answer") from error
            raise
        return reader, writer

    async def _carry(
        self,
        session: Session,
        request: SessionRequest,
        engine: Engine,
        made: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        async def resize(rows: int, columns: int) -> None:
            if request.tty and rows > 0 and columns > 0:
                with contextlib.suppress(EngineAway, EngineRefused):  # it may have ended
                    await self._call(engine, lambda client: client.exec_resize(made, rows, columns))

        async def inward() -> None:
            while not isinstance(event := await session.read(), Ended):
                if isinstance(event, Data) and event.channel == STDIN:
                    with contextlib.suppress(OSError):  # it reads no more
                        writer.write(event.data)
                        await writer.drain()
                elif isinstance(event, Closed) and not request.tty and writer.can_write_eof():
                    with contextlib.suppress(OSError):
                        writer.write_eof()
                elif isinstance(event, Resized):
                    await resize(event.rows, event.columns)
            raise Broken("the other side ended it")

        await resize(request.rows, request.columns)
        loop = asyncio.get_running_loop()
        work = {
            loop.create_task(inward()),
            loop.create_task(_output(session, reader, plain=request.tty)),
        }
        try:
            done, _ = await asyncio.wait(work, return_when="FIRST_COMPLETED")
            for one in done:
                await one
        finally:
            await stop(*work)

    async def _end_of(self, engine: Engine, made: str) -> Ended:
        found = await self._call(engine, lambda client: client.exec_inspect(made))
        code = found.get("ExitCode")
        return Ended(1 if code is None else int(code))

    async def _kill(self, engine: Engine, made: str) -> None:
        """Docker does not end what nobody listens to any more."""
        try:
            found = await self._call(engine, lambda client: client.exec_inspect(made))
        except (EngineAway, EngineRefused) as error:
            log.info("a command of a session that broke: %s", error)
            return
        leader = procfs.stat_of(int(found.get("Pid") or 0)) if found.get("Running") else None
        for number in (signal.SIGHUP, signal.SIGKILL):
            if leader is None or not procfs.lives(leader.pid, leader.start):
                return
            members = procfs.session_members(leader.pid, leader.start, procfs.all_stats())
            for pid in {leader.pid, *members}:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            await asyncio.sleep(HANGS_UP_S)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except docker.errors.APIError as error:
        status = error.response.status_code if error.response is not None else 0
        raise EngineRefused(str(error.explanation or error), status) from error
    except (
        docker.errors.DockerException,
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,
    ) as error:
        raise EngineAway(f"it does not answer ({error})") from error


def _create(client: Any, id_: str, request: SessionRequest) -> str:
    made = client.exec_create(
        id_,
        list(request.command),
        stdin=request.stdin,
        tty=request.tty,
        environment={"TERM": request.term} if request.tty and request.term else None,
    )
    return str(made["Id"])


async def _output(session: Session, reader: asyncio.StreamReader, *, plain: bool) -> None:
    """What the command writes, to its end; not `plain`: Docker says which of two it wrote to."""
    channel, left = STDOUT, 0
    while True:
        if not plain and not left:
            try:
                kind, left = _FRAME.unpack(await reader.readexactly(_FRAME.size))
            except asyncio.IncompleteReadError:
                return
            channel = STDERR if kind == STDERR else STDOUT
            continue
        data = await reader.read(PIECE if plain else min(PIECE, left))
        if not data:
            return
        left -= 0 if plain else len(data)
        await session.write(channel, data)


def _absolute(path: str) -> str:
    return "/" + path.lstrip("/")


def _place(client: Any, id_: str, path: str) -> tuple[str, str]:
    """The directory that a tar goes into, and what its top entry is called there (empty: as it
    is)."""
    try:
        stream, found = client.get_archive(id_, path)
        stream.close()
    except docker.errors.NotFound:
        found = {"mode": 0}
    if int(found["mode"]) & IS_DIRECTORY or stat.S_ISDIR(int(found["mode"])):
        return path, ""
    there = PurePosixPath(path)
    return str(there.parent), there.name


def _renamed(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """The tar with its top entry called `name`, piece by piece; raises Refused."""
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if not (member.isreg() or member.isdir() or member.issym()):
                raise Refused(f"{member.name}: neither a file, a directory nor a symbolic link")
            parts = [part for part in member.name.split("/") if part not in ("", ".")]
            if not parts or ".." in parts or member.name.startswith("/"):
                raise Refused(f"{member.name}: it leads out of the target")
            member.name, member.pax_headers = "/".join((name or parts[0], *parts[1:])), {}
            yield member.tobuf(tarfile.PAX_FORMAT)
            content = archive.extractfile(member) if member.isreg() else None
            while content is not None and (data := content.read(PIECE)):
                yield data
            yield b"\0" * (-member.size % tarfile.BLOCKSIZE if content is not None else 0)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)
