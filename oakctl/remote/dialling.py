"""Connecting by fabric, through jump hosts, each checked as strictly as the target.

Belongs here: one SSH connection over the other, the rule for host keys, keys in the order of
`identity`, and what went wrong in words. Does not belong here: what runs on a connection
(`channels`), the same by asyncssh (`tunnel`), who is let in (`target`).
"""

from __future__ import annotations

import logging
import random
import shlex
import time
from typing import Any

import asyncssh
import fabric
import paramiko
from paramiko.auth_strategy import AuthStrategy

from oakctl.errors import OakError, Unreachable
from oakctl.remote import identity
from oakctl.remote.heartbeat import Heartbeat
from oakctl.remote.identity import Identity
from oakctl.remote.orderly import OrderlyTransport
from oakctl.remote.route import route
from oakctl.remote.signing import FileKey
from oakctl.remote.target import CONNECT_DEADLINE_S, LOGIN_DEADLINE_S, Target

# Between tries at a server that turns us away: at random up to these, so that not all of a
# fleet behind one jump host come again at the same time.
DELAYS_S = (0.3, 0.6, 1.2, 2.0, 2.0, 2.0)

# paramiko reports every refused connection here too; without a handler that goes to stderr,
# into whatever screen is there. What a user has to know is raised.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class Line:
    """Open connections to the jump hosts and the target, each through the one before."""

    def __init__(self, target: Target) -> None:
        """Raises Unreachable, in words, when one cannot be reached, is not believed or does not
        let us in; nothing is left open then. Blocks: for threads."""
        self._connections: list[fabric.Connection] = []
        self._heartbeats: list[Heartbeat] = []
        try:
            for machine in route(target):
                self.target = machine
                self._extend(machine)
        except BaseException:
            self.close()
            raise

    @property
    def connection(self) -> fabric.Connection:
        """The one to the target."""
        return self._connections[-1]

    def _extend(self, machine: Target) -> None:
        gateway = self._connections[-1] if self._connections else None
        found = machine.identity()
        connection = _admitted(machine, found, gateway)
        self._connections.append(connection)
        self._heartbeats.append(Heartbeat(connection.transport, machine.name))

    def close(self) -> None:
        """Hang up, the last first; those that never opened too."""
        for heartbeat in self._heartbeats:
            heartbeat.stop()
        for connection in reversed(self._connections):
            connection.close()
            connection.client.close()  # what failed before it was open


class _Busy(Exception):
    """The server hung up before it said who it is: it has too many logins under way."""


def _admitted(
    target: Target, found: Identity, gateway: fabric.Connection | None
) -> fabric.Connection:
    """An open connection; a server that is busy (MaxStartups) is asked again, some time later."""
    delays = iter(() if target.proxy_command else DELAYS_S)
    while True:
        connection = _connection(target, found, gateway)
        try:
            _open(target, found, connection)
            return connection
        except _Busy as busy:
            connection.client.close()
            delay_s = next(delays, None)
            if delay_s is None:
                raise target.no_answer(busy.__cause__ or busy) from busy
            time.sleep(random.uniform(0, delay_s))
        except BaseException:
            connection.client.close()
            raise


class _Policy:
    """What paramiko asks about every host key, as it is given none to compare with itself."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def missing_host_key(self, client: object, hostname: str, key: Any) -> None:
        """Raises Unreachable, which ends the connection before anything was sent."""
        text = f"{key.get_name()} {key.get_base64()}"
        self._target.admit(asyncssh.import_public_key(text))


class _HungUp(paramiko.SSHException):  # type: ignore[misc]  # paramiko has no types
    """The server has ended the connection between two keys."""


class _Keys(AuthStrategy):  # type: ignore[misc]  # paramiko has no types
    """Offers keys in their order, and stops where the server hangs up."""

    def __init__(self, user: str, found: Identity) -> None:
        super().__init__(ssh_config=paramiko.SSHConfig())
        self._user = user
        self._found = found

    def authenticate(self, transport: Any) -> None:
        """Called by paramiko. Raises its AuthenticationException when no key was enough, _HungUp
        when the server would not see all of them."""
        said: Exception | None = None
        with identity.agent_keys(self._found.agent) as held:
            for offer in self._found.offers:
                if offer.file is None and offer.blob not in held:
                    continue  # taken out of the agent meanwhile
                try:
                    key = FileKey(offer.file, offer.passphrase) if offer.file else held[offer.blob]
                    transport.auth_publickey(self._user, key)
                except (OSError, ValueError, asyncssh.KeyEncryptionError) as error:
                    said = error  # the file is another one than a moment ago
                except paramiko.AuthenticationException as error:
                    said = error
                    if isinstance(error, paramiko.BadAuthenticationType):
                        break
                if transport.is_authenticated():
                    return
                if not transport.is_active():
                    raise _HungUp
        raise paramiko.AuthenticationException(str(said) if said else "there is no key to offer")


def _connection(
    target: Target, found: Identity, gateway: fabric.Connection | None
) -> fabric.Connection:
    algorithms = target.host_key_algorithms()

    def transport(sock: Any, **options: Any) -> Any:
        made = OrderlyTransport(sock, **options)
        possible = made.get_security_options()
        possible.key_types = tuple(name for name in algorithms if name in possible.key_types)
        return made

    options: dict[str, Any] = {
        "auth_strategy": _Keys(target.login, found),
        "banner_timeout": LOGIN_DEADLINE_S,
        "auth_timeout": LOGIN_DEADLINE_S,
        "channel_timeout": LOGIN_DEADLINE_S,
        "transport_factory": transport,
    }
    if target.proxy_command and gateway is None:
        options["sock"] = paramiko.ProxyCommand(shlex.join(target.proxy_words))
    connection = fabric.Connection(
        host=target.address,
        user=target.login,
        port=target.port,
        # Neither ~/.ssh/config nor fabric's own files: both libraries go the same way.
        config=fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True),
        gateway=gateway,
        forward_agent=False,
        connect_timeout=int(CONNECT_DEADLINE_S),
        connect_kwargs=options,
    )
    # Without this line fabric takes every key, even a changed one.
    connection.client.set_missing_host_key_policy(_Policy(target))
    return connection


def _open(target: Target, found: Identity, connection: fabric.Connection) -> None:
    try:
        connection.open()
    except OakError:
        raise
    except paramiko.AuthenticationException as error:
        raise target.refused(str(error), found) from error
    except _HungUp as error:
        raise target.too_many_keys() from error
    except paramiko.ChannelException as error:
        raise Unreachable(
            f"{target.name}: {target.where} is not reached from the jump host: {error.text}"
        ) from error
    except paramiko.ssh_exception.NoValidConnectionsError as error:
        raise target.no_answer(next(iter(error.errors.values()))) from error
    except (OSError, EOFError, paramiko.SSHException) as error:
        if turned_away(error):
            raise _Busy from error
        raise target.no_answer(error) from error


def turned_away(error: BaseException) -> bool:
    """Whether the server hung up before it had said who it is, as if it had too much to do."""
    if isinstance(error, paramiko.SSHException):
        # paramiko has no word for it but "banner", for a server that is slow too.
        error = error.__context__ or error
    return isinstance(error, EOFError | ConnectionResetError)
