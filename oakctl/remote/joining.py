"""The program that makes a machine a worker by a token, run there by the machine's owner.

Belongs here: in which order it is done, and what the owner is told. The steps are those that a
worker added over SSH is made with (`playbooks/`). Does not belong here: making the program
(`join_archive`), the rules of tokens (`cluster.tokens`). Runs on Python 3.10 and imports none of
the operator's libraries.

The claim is on the disk before the token is used, and the worker's credential before anything
else is made: a run that was cut off carries on. One that is refused leaves nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import shlex
import signal
import ssl
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoServersError

from oakctl.errors import Conflict, DeadlineExceeded, ExitCode, OakError, Unreachable
from oakctl.model import subjects, wire
from oakctl.model.config import WorkerConfig, endpoint
from oakctl.model.tokens import JoinAnswer, JoinFile, JoinRequest, token_user
from oakctl.model.views import StepEvent
from oakctl.orchestration import bus
from oakctl.remote import manifest, playbook, residence, runner
from oakctl.remote.inputs import WorkerInputs
from oakctl.remote.local import LocalRemote
from oakctl.remote.step import Step

ROLE = "worker"
CONNECT_S = 10
TRIES = 3
ANSWER_S = 10.0
ANSWERED_WITHIN_S = 30.0  # an orchestrator that is just being restarted
READY_WITHIN_S = 60.0
POLL_S = 0.5


class Refused(OakError):
    """The cluster does not take us, and says why."""


@dataclass(frozen=True)
class Joined:
    """`etc/worker/join.json`: which token this machine used, and its claim to it."""

    id: str
    claim: str = field(repr=False)


def main(argv: Sequence[str], program: str, told: JoinFile) -> int:
    """Join, or take all away again; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=Path(program).name,
        description=f"Makes this machine worker {told.worker} of oakctl cluster {told.cluster}.",
    )
    parser.add_argument("--remove", action="store_true", help="take everything away again")
    remove = parser.parse_args(argv).remove
    os.umask(0o077)
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(ExitCode.TERMINATED)))
    again = f"sudo python3 {shlex.quote(program)}{' --remove' * remove}"
    here = LocalRemote((told.bus_address, told.bus_port), again)
    try:
        _say(_remove(here) if remove else Joining(here, told, program).run())
    except OakError as error:
        for line in (error.message, *error.details):
            _say(line)
        # Commands of the operator's program are nothing that is found here.
        if error.hint and "oakctl " not in error.hint:
            _say(f"next: {error.hint}")
        return int(error.exit_code)
    except KeyboardInterrupt:
        _say("stopped; run it again to carry on")
        return int(ExitCode.INTERRUPTED)
    return int(ExitCode.DONE)


class Joining:
    """One run on one machine."""

    def __init__(self, here: LocalRemote, told: JoinFile, program: str) -> None:
        self._here = here
        self._told = told
        self._program = program
        self._name = f"worker {told.worker} of cluster {told.cluster}"

    def run(self) -> str:
        """Do what is not done yet; the last word to the owner. Raises OakError, Refused."""
        here = self._here
        found = residence.require_usable(here.name, here.facts, here.residence)
        joined = self._own()
        if joined is None:
            self._converse("", False)  # before anything is made: whether the bus lets us in at all
        with here.held():
            joined = self._own()  # what another run did meanwhile counts
            if joined is None or not here.read(_secret_file(here)):
                _say(f"{self._name} is made below {found.prefix}: {found.reason}")
                joined = self._enrol(joined)
            else:
                self._still_wanted(joined)  # the agent of a removed worker does not stay up
            done = _Told()
            runner.run(self._plan(), here, done, threading.Event())
            if done.changed:
                self._until_ready(joined)
                return f"this machine is {self._name}; it leaves by: {self._leaving()}"
            return f"nothing to do: this machine is {self._name}"

    def _own(self) -> Joined | None:
        """What an earlier run of this program has left; raises Conflict for another's worker."""
        here = self._here
        record = here.read(_record_file(here))
        joined = wire.decode(record, Joined) if record else None
        if joined is not None and joined.id == self._told.id:
            return joined
        config = here.read(here.layout.etc("worker.json"))
        if config is None and here.read(_secret_file(here)) is None:
            return None
        known = wire.decode(config, WorkerConfig) if config else None
        what = f"worker {known.worker} of cluster {known.cluster}" if known else "another worker"
        raise Conflict(
            f"{here.name}: this machine is {what} already",
            hint=self._leaving() if joined else "have its operator remove it first",
        )

    def _enrol(self, joined: Joined | None) -> Joined:
        """Use the token, and keep the credential."""
        here, role = self._here, manifest.ROLES[ROLE]
        roles = manifest.read(here)
        if roles.get(ROLE) != role:
            here.put(here.layout.manifest, manifest.text(roles | {ROLE: role}))
        if joined is None:
            joined = Joined(self._told.id, secrets.token_hex(16))
            here.put(_record_file(here), wire.encode(joined))
        try:
            answer = self._converse(joined.claim, False)
        except Refused:
            _clear(here)
            raise
        if answer.accepted and answer.secret:
            here.put(_secret_file(here), answer.secret.encode())
            return joined
        _clear(here)
        reason = answer.reason or f"the credential of {self._name} was handed over before"
        raise Refused(
            f"cluster {self._told.cluster} refuses: {reason}",
            hint="ask whoever gave you this file for a new one",
        )

    def _plan(self) -> list[Step]:
        here, told = self._here, self._told
        inputs = WorkerInputs(
            worker=told.worker,
            cluster=told.cluster,
            secret=(here.read(_secret_file(here)) or b"").decode(),
            bus_address=told.bus_address,
            bus_port=told.bus_port,
            ca_pem=told.ca_pem,
            contribution=told.contribution,
            location=told.location,
            labels=told.labels,
        )
        return [
            *playbook.steps("overlay", {}),
            *playbook.steps_for("base", ROLE),
            *playbook.steps_for("worker", inputs),
        ]

    def _until_ready(self, joined: Joined) -> None:
        answer = self._converse(joined.claim, True)
        self._check(answer)
        if not answer.is_ready:
            log = self._here.layout.log("agent")
            raise DeadlineExceeded(
                f"the agent runs, and the cluster has not heard of it in {READY_WITHIN_S:.0f} s",
                hint=f"look at {log}, then run this again",
            )

    def _still_wanted(self, joined: Joined) -> None:
        try:
            answer = self._converse(joined.claim, False)
        except OakError:
            return  # the bus is away, or has forgotten the token: the agent knows better
        self._check(answer)

    def _check(self, answer: JoinAnswer) -> None:
        if not answer.accepted:
            raise Refused(
                f"cluster {self._told.cluster} has this worker no more: {answer.reason}",
                hint=self._leaving(),
            )

    def _leaving(self) -> str:
        sudo = "sudo " if os.geteuid() == 0 else ""
        return f"{sudo}python3 {shlex.quote(self._program)} --remove"

    def _converse(self, claim: str, until_ready: bool) -> JoinAnswer:
        """Ask the cluster, or with no claim just connect; raises Unreachable, in words."""
        told = self._told
        asked = JoinRequest(claim, self._here.name)
        try:
            return asyncio.run(_conversation(told, asked, until_ready))
        except (NatsError, OSError, asyncio.TimeoutError, wire.Malformed) as error:
            raise _unreachable(told, error) from error


async def _connected(told: JoinFile) -> Client:
    """A client as `bus.connect` makes it, that gives up: a person waits for it."""
    context = ssl.create_default_context(cadata=told.ca_pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    failures: list[Exception] = []

    async def on_error(error: Exception) -> None:
        failures.append(error)

    user = token_user(told.id)
    try:
        return await asyncio.wait_for(
            nats.connect(
                f"tls://{endpoint(told.bus_address, told.bus_port)}",
                name="joining",
                user=user,
                password=told.secret,
                tls=context,
                tls_hostname=told.cluster,
                inbox_prefix=subjects.inbox(user).encode(),
                allow_reconnect=False,
                max_reconnect_attempts=TRIES,
                reconnect_time_wait=1,
                connect_timeout=CONNECT_S,
                error_cb=on_error,
            ),
            2 * CONNECT_S,
        )
    except NoServersError as error:
        raise (failures[-1] if failures else error) from error


async def _conversation(told: JoinFile, asked: JoinRequest, until_ready: bool) -> JoinAnswer:
    client = await _connected(told)
    loop = asyncio.get_running_loop()
    try:
        over = loop.time() + (READY_WITHIN_S if until_ready else ANSWERED_WITHIN_S)
        while asked.claim:
            try:
                answer = await bus.ask(
                    client, subjects.join(told.id), asked, JoinAnswer, timeout_s=ANSWER_S
                )
            except (NatsError, asyncio.TimeoutError):
                if loop.time() >= over:
                    raise
            else:
                settled = not answer.accepted or answer.is_ready or not until_ready
                if settled or loop.time() >= over:
                    return answer
            await asyncio.sleep(POLL_S)
        return JoinAnswer(True)
    finally:
        await client.close()


def _unreachable(told: JoinFile, error: BaseException) -> OakError:
    where = endpoint(told.bus_address, told.bus_port)
    if "authorization violation" in str(error).lower():
        return Refused(
            f"cluster {told.cluster} does not know this token (any more)",
            hint="ask whoever gave you this file for a new one",
        )
    if isinstance(error, ssl.SSLError):
        return Unreachable(
            f"who answers at {where} does not prove to be cluster {told.cluster}: {error}",
            hint="check this machine's clock and network, then run this again",
        )
    words = str(error) or "no answer in time"
    return Unreachable(
        f"cluster {told.cluster} does not answer at {where}: {words}",
        hint="check that this machine reaches that address, then run this again",
    )


def _remove(here: LocalRemote) -> str:
    """Take all that a join program made off this machine."""
    found = residence.where_to_remove(here.name, here.facts, here.residence)
    if found is None or ROLE not in manifest.read(here):
        return "nothing to do: this machine is no worker"
    if here.read(_record_file(here)) is None:
        raise Conflict(
            f"{here.name}: this worker was not made by a join program",
            hint="have its operator remove it",
        )
    with here.held():
        _clear(here)
    return "nothing of it is left on this machine"


def _clear(here: LocalRemote) -> None:
    runner.run(playbook.steps_for("uninstall", ROLE), here, _Told(), threading.Event())


def _record_file(here: LocalRemote) -> str:
    return here.layout.etc("worker/join.json")


def _secret_file(here: LocalRemote) -> str:
    return here.layout.etc("worker/secret")


class _Told:
    """Tells the owner each thing that is done."""

    def __init__(self) -> None:
        self.changed = False

    def __call__(self, event: StepEvent) -> None:
        if event.state == "done":
            self.changed = True
            _say(f"{event.step}: done{f' ({event.message})' if event.message else ''}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
