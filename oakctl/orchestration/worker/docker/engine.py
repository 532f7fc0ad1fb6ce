"""Docker's API as we use it: thin, blocking calls of the SDK.

Belongs here: one method per call, and its errors as EngineAway or EngineRefused. Does not belong
here: deciding anything, or waiting for anything longer than one call (`calls` runs them).
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

with warnings.catch_warnings():
    # The SDK's HTTP library would like to guess encodings; Docker's answers are UTF-8.
    warnings.simplefilter("ignore")
    import docker
    import docker.errors
    import requests.exceptions
    import urllib3.exceptions

from oakctl.orchestration.worker.docker import seen, words
from oakctl.orchestration.worker.docker.errors import EngineAway, EngineRefused
from oakctl.orchestration.worker.docker.seen import Seen

CALL_S = 25.0  # of one read from the socket
START_S = 60.0  # the same of what a slow disk takes its time for: creating, starting, removing
LOAD_SILENT_S = 600.0  # the same while an image is taken in: a slow disk says nothing for long
MOST_LOG_LINES = 20_000  # of one look

_AWAY = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    docker.errors.DockerException,
    OSError,
)


@dataclass(frozen=True)
class EngineFacts:
    """What the engine says of itself."""

    version: str
    api: str
    platform: str  # linux/amd64
    architecture: str  # amd64
    runtimes: tuple[str, ...]
    root: str  # its data directory
    cpus: float
    not_limited: tuple[str, ...]  # what this kernel does not let it limit


@dataclass(frozen=True)
class Command:
    """A command inside a container."""

    runs: bool
    exit_code: int | None = None
    pid: int = 0  # on this node; 0: none, or not known


class Engine:
    """One engine, by its socket. Raises EngineAway where none that we can use answers."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        with self._told():
            self._client = docker.APIClient(
                base_url=f"unix://{socket}", version="auto", timeout=CALL_S
            )
            found = self._client.version(api_version=False)
            old = words.too_old(str(found.get("Version")), str(found.get("ApiVersion")))
            if old:
                raise EngineAway(old)
            self.facts = _facts(found, self._client.info())
            self._patient = self._more_patient(START_S)

    def containers(self, prefix: str) -> dict[str, str]:
        """Id → state of every container with our label."""
        with self._told():
            filters = {"label": f"{seen.PREFIX}={prefix}"}
            found = self._client.containers(all=True, filters=filters)
        return {str(one["Id"]): str(one.get("State", "")) for one in found}

    def inspect(self, id_: str) -> Seen | None:
        """One container; None when it is gone."""
        try:
            with self._told():
                return seen.read(self._client.inspect_container(id_))
        except EngineRefused as error:
            if error.missing:
                return None
            raise

    def create(self, name: str, body: Mapping[str, Any]) -> str:
        """Create a container; returns its id."""
        with self._told():
            return str(self._patient.create_container_from_config(body, name)["Id"])

    def start(self, id_: str) -> None:
        """Start it."""
        with self._told():
            self._patient.start(id_)

    def kill(self, id_: str, signal: str) -> None:
        """Send it a signal; none is sent to one that has ended."""
        with self._told(), _unless(404, 409):
            self._client.kill(id_, signal)

    def remove(self, id_: str) -> None:
        """End it and take it away, with volumes that have no name."""
        with self._told(), _unless(404, 409):
            self._patient.remove_container(id_, force=True, v=True)

    def begin_command(self, id_: str, argv: tuple[str, ...]) -> str:
        """Start a command in it, whose output nobody wants; returns what it is known by."""
        with self._told():
            made = str(self._client.exec_create(id_, list(argv), stdout=False, stderr=False)["Id"])
            self._client.exec_start(made, detach=True)
            return made

    def command(self, command: str) -> Command:
        """What became of a command; one that Docker knows no more has ended."""
        try:
            with self._told():
                found = self._client.exec_inspect(command)
        except EngineRefused as error:
            if error.missing:
                return Command(runs=False)
            raise
        code = found.get("ExitCode")
        return Command(
            runs=bool(found.get("Running")),
            exit_code=None if code is None else int(code),
            pid=int(found.get("Pid") or 0),
        )

    def logs(self, id_: str, since: float) -> list[bytes]:
        """What it has said since, one entry per line, each with its time before it."""
        with self._told():
            stream = self._client.logs(
                id_, stream=True, follow=False, timestamps=True, tail=MOST_LOG_LINES,
                since=since if since > 0 else None,
            )  # fmt: skip
            return list(stream)

    def image(self, reference: str) -> tuple[str, str] | None:
        """(id, platform) of an image that is here; None when it is not."""
        found = self._image(reference)
        if found is None:
            return None
        platform = f"{found.get('Os', 'linux')}/{found.get('Architecture', '')}"
        return str(found["Id"]), platform

    def names(self, id_: str) -> tuple[str, ...] | None:
        """The names that an image has; None when it is not here."""
        found = self._image(id_)
        return None if found is None else tuple(found.get("RepoTags") or ())

    def _image(self, reference: str) -> Mapping[str, Any] | None:
        try:
            with self._told():
                found: Mapping[str, Any] = self._client.inspect_image(reference)
        except EngineRefused as error:
            if error.missing:
                return None
            raise
        return found

    def pull(
        self,
        reference: str,
        platform: str,
        report: Callable[[Mapping[str, Any]], None],
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        """Pull an image; `report` is told each line. Raises EngineRefused with what is wrong.

        `credentials` are username and password for its registry. What `report` raises ends it:
        Docker gives a pull up when nobody listens to it.
        """
        with self._told():
            # The platform is left to the engine where it can only be its own.
            lines = self._client.pull(
                reference, stream=True, decode=True, platform=platform, auth_config=credentials
            )
            with contextlib.closing(lines):
                for line in lines:
                    if line.get("error"):
                        raise EngineRefused(str(line["error"]))
                    report(line)

    def stacks(self) -> tuple[tuple[str, ...], ...]:
        """The layers of every image here: the sha256 of each one's tar, the lowest first.

        Empty where images lie with containerd, which does not take an archive with gaps.
        """
        with self._told():
            status = dict(self._client.info().get("DriverStatus") or ())
            if "containerd" in str(status.get("driver-type", "")):
                return ()
            found = [str(image["Id"]) for image in self._client.images(all=True)]
        return tuple(stack for stack in map(self._stack, found) if stack)

    def _stack(self, id_: str) -> tuple[str, ...]:
        try:
            with self._told():
                layers = (self._client.inspect_image(id_).get("RootFS") or {}).get("Layers")
        except EngineRefused as error:
            if error.missing:  # it went meanwhile
                return ()
            raise
        return tuple(str(one).rpartition(":")[2] for one in layers or ())

    def load(self, archive: Iterator[bytes], report: Callable[[Mapping[str, Any]], None]) -> None:
        """Take images in from an archive; raises EngineRefused with what is wrong.

        `report` is told each line of how Docker gets on with the layers.
        """
        with self._told(), contextlib.closing(self._more_patient(LOAD_SILENT_S)) as patient:
            for line in patient.load_image(archive, quiet=False):
                if line.get("error"):
                    raise EngineRefused(str(line["error"]))
                report(line)

    def untag(self, reference: str) -> bool:
        """Take an image away; False when a container uses it or nothing was there."""
        try:
            with self._told():
                self._client.remove_image(reference, force=False, noprune=False)
        except EngineRefused as error:
            if error.status in (404, 409):
                return error.status == 404
            raise
        return True

    def events(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        """What happens to our containers, as it happens; ends when the engine does."""
        filters = {"label": f"{seen.PREFIX}={prefix}", "type": "container"}
        with self._told():
            yield from self._client.events(decode=True, filters=filters)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()
        self._patient.close()

    def _more_patient(self, seconds: float) -> docker.APIClient:
        return docker.APIClient(
            base_url=f"unix://{self._socket}", version=self.facts.api, timeout=seconds
        )

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except docker.errors.APIError as error:
            status = error.response.status_code if error.response is not None else 0
            raise EngineRefused(str(error.explanation or error), status) from error
        except _AWAY as error:
            raise EngineAway(words.no_connection(self._socket, error)) from error


@contextlib.contextmanager
def _unless(*statuses: int) -> Iterator[None]:
    """The same as if it had been done, where Docker says that there is nothing to do it to."""
    try:
        yield
    except docker.errors.APIError as error:
        if error.response is None or error.response.status_code not in statuses:
            raise


def _facts(version: Mapping[str, Any], info: Mapping[str, Any]) -> EngineFacts:
    limits = {"MemoryLimit": "memory", "CpuCfsQuota": "cpu", "PidsLimit": "processes"}
    architecture = str(version.get("Arch", ""))
    return EngineFacts(
        version=str(version.get("Version", "")),
        api=str(version.get("ApiVersion", "")),
        platform=f"{version.get('Os', 'linux')}/{architecture}",
        architecture=architecture,
        runtimes=tuple(sorted(info.get("Runtimes") or {})),
        root=str(info.get("DockerRootDir", "")),
        cpus=float(info.get("NCPU") or 1),
        not_limited=tuple(what for key, what in limits.items() if info.get(key) is False),
    )
