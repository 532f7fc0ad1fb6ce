"""One host on this machine: laid out, booted, shut down, without power, laid out anew.

Belongs here: its overlay, its first files, its processes. Does not belong here: what is decided
without doing it (`recipe`, `boot`), its cables (`network`).
"""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
import shutil
import signal
import time
from pathlib import Path

import asyncssh

from oakctl.errors import DeadlineExceeded, OakError
from oakctl.lab import keys, processes
from oakctl.lab.machines import boot, recipe, traces
from oakctl.lab.machines.boot import Place, Surroundings
from oakctl.lab.machines.recipe import HostFile, Identity
from oakctl.lab.machines.record import SSH_PORT, MachineFiles, MachineLab
from oakctl.lab.machines.shell import LAST_LINES, STEP_S, Shell, mounts_below, unmount_below
from oakctl.lab.machines.topology import host_node

START_S = 30.0
BOOT_S = 180.0  # to a login; 5 to 8 s on an idle machine
LOGIN_S = 10.0
EMULATED = 10.0  # times as slow is what is emulated
SHUTDOWN_S = 90.0


class Machine:
    """A host of a lab, by its name. All calls are idempotent."""

    def __init__(self, shell: Shell, files: MachineFiles, lab: MachineLab, name: str) -> None:
        self._shell = shell
        self._files = files
        self._lab = lab
        self._host = lab.host(name)
        self._directory = files.host(name)
        self._root = self._directory / "root"
        self._laid_out = self._directory / "laid-out"
        self._unit = lab.unit(name)
        self._slowness = EMULATED if recipe.recipe(self._host, platform.machine()).foreign else 1.0

    def is_on(self) -> bool:
        """Whether it runs."""
        return self._supervisor() is not None

    async def lay_out(self, image: Path) -> None:
        """Mount its root, and make it a host of its own before it is first booted."""
        fresh = not self._laid_out.exists()
        if fresh:
            await self.erase()
        for part in ("upper", "work", "root", "docker"):
            # The root of the overlay has the mode of `upper`, so the umask must not decide.
            (self._directory / part).mkdir(parents=True, exist_ok=True)
            (self._directory / part).chmod(0o755)
        if not mounts_below(self._root):
            await self._mount(image)
        if fresh:
            await self._personalise()
            self._laid_out.touch()

    async def boot(self, *, reachable: bool = True) -> None:
        """Turn it on and, when it is `reachable`, wait until its user can log in.

        Raises OakError, DeadlineExceeded.
        """
        if not self.is_on():
            await self.kill()  # what a killed supervisor left
            await self._launch()
        if reachable:
            await self._until_login()

    async def shut_down(self) -> None:
        """An orderly end; after SHUTDOWN_S it loses its power all the same."""
        supervisor = self._supervisor()
        if supervisor is not None:
            processes.send(supervisor.pid, signal.SIGTERM)
            deadline = time.monotonic() + SHUTDOWN_S
            while self.is_on():
                if time.monotonic() > deadline:
                    break
                await asyncio.sleep(STEP_S)
        await self.kill()

    async def kill(self) -> None:
        """Kill everything on it at once; raises DeadlineExceeded when something survives."""
        await traces.kill(self._shell, self._unit, self._host.name)
        traces.forget_lock(self._root)

    async def release(self) -> None:
        """Kill it and unmount it."""
        await self.kill()
        await unmount_below(self._shell, self._directory)

    async def erase(self) -> None:
        """As `release`, and everything that it ever wrote is gone, its host key too."""
        await self.release()
        if self._directory.exists():
            shutil.rmtree(self._directory)
        key = self._files.host_key(self._host.name)
        key.unlink(missing_ok=True)
        key.with_suffix(".pub").unlink(missing_ok=True)

    async def _mount(self, image: Path) -> None:
        upper, work = self._directory / "upper", self._directory / "work"
        options = f"lowerdir={image},upperdir={upper},workdir={work}"
        try:
            await self._shell.run(
                ("mount", "-t", "overlay", "overlay", "-o", options, str(self._root))
            )
        except OakError as error:
            raise OakError(
                f"{self._directory} can't hold a host: {error.message}",
                hint="an ordinary file system is needed: set XDG_STATE_HOME to a folder on one",
                details=error.details,
            ) from error

    async def _personalise(self) -> None:
        key = self._files.host_key(self._host.name)
        keys.make_key(key, f"{keys.MARK}{self._lab.id}:{self._host.name}")
        made = Identity(
            secrets.token_hex(16),
            key.read_bytes(),
            key.with_suffix(".pub").read_bytes(),
            self._files.user_key.with_suffix(".pub").read_bytes(),
        )
        for file in recipe.host_files(self._host, made):
            _write(self._root, file)
        line = f"{recipe.USER}:{self._lab.sudo_password}\n"
        # Before the first boot, so nothing in the host can see it pass.
        await self._shell.run(("chroot", str(self._root), "chpasswd"), stdin=line)

    async def _launch(self) -> None:
        docker = str(self._directory / "docker") if self._host.docker else ""
        place = Place(
            self._unit,
            str(self._root),
            str(self._files.network(host_node(self._host.name))),
            str(self._directory / "console.log"),
            docker,
        )
        around = surroundings()
        script = boot.launcher(boot.nspawn(self._host, place, around), place, around)
        mark = {processes.HOST_VARIABLE: self._host.name}
        # `setsid --fork` returns at once: the host belongs to init and outlives this process.
        await self._shell.run(
            ("setsid", "--fork", "/bin/sh", "-c", f"exec >/dev/null 2>&1\n{script}"),
            more={**mark, **boot.environment(self._host)},
        )
        deadline = time.monotonic() + START_S
        while not self.is_on():
            if time.monotonic() > deadline:
                raise OakError(
                    f"host {self._host.name} did not start", details=tuple(self._last_lines())
                )
            await asyncio.sleep(STEP_S)

    async def _until_login(self) -> None:
        patience_s = BOOT_S * self._slowness
        deadline = time.monotonic() + patience_s
        failure = ""
        while True:
            try:
                await asyncio.wait_for(self._log_in(), LOGIN_S * self._slowness)
                return
            except (OSError, asyncssh.Error, TimeoutError) as error:
                failure = f"{type(error).__name__}: {error}"
            if not self.is_on():
                raise OakError(
                    f"host {self._host.name} went off while it booted",
                    hint=f"its console is {self._directory}/console.log",
                    details=tuple(self._last_lines()),
                )
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"host {self._host.name} took no login within {patience_s:.0f} s ({failure})",
                    hint=f"its console is {self._directory}/console.log",
                    details=tuple(self._last_lines()),
                )
            await asyncio.sleep(STEP_S)

    async def _log_in(self) -> None:
        key = asyncssh.read_public_key(self._files.host_key(self._host.name).with_suffix(".pub"))
        async with asyncssh.connect(
            self._lab.address(self._host.name),
            SSH_PORT,
            username=recipe.USER,
            client_keys=[str(self._files.user_key)],
            known_hosts=([key], [], []),
            agent_path=None,
            config=None,
        ) as connection:
            await connection.run("true", check=True)

    def _supervisor(self) -> processes.Process | None:
        for process in processes.of_lab(self._lab.id, self._host.name):
            if Path(process.command[0] if process.command else "").name == "systemd-nspawn":
                return process
        return None

    def _last_lines(self) -> list[str]:
        console = self._directory / "console.log"
        if not console.exists():
            return []
        return console.read_text(errors="replace").splitlines()[-LAST_LINES:]


def surroundings() -> Surroundings:
    """What this machine offers."""
    if (traces.CGROUPS / "cgroup.procs").exists():
        hierarchies = [str(traces.CGROUPS)]
    else:
        groups = {group.resolve() for group in traces.CGROUPS.iterdir() if group.is_dir()}
        hierarchies = sorted(str(group) for group in groups if (group / "cgroup.procs").exists())
    return Surroundings(
        Path("/run/systemd/system").is_dir(), tuple(hierarchies), Path("/dev/net/tun").exists()
    )


def _write(root: Path, file: HostFile) -> None:
    path = root / file.path
    owner = recipe.USER_ID if file.user else 0
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700 if file.user else 0o755)
        os.chown(path.parent, owner, owner)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(file.body)
        os.fchmod(out.fileno(), file.mode)
        os.fchown(out.fileno(), owner, owner)
