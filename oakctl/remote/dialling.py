"""Connecting by fabric, through jump hosts, each checked as strictly as the target.

Belongs here: one SSH connection over the other, the rule for host keys, and what went wrong in
words. Does not belong here: what runs on a connection (`channels`), the same by asyncssh
(`tunnel`), who is let in (`target`).
"""

from __future__ import annotations

import logging
from typing import Any

import asyncssh
import fabric
import paramiko

from oakctl.errors import OakError, Unreachable
from oakctl.remote.target import CONNECT_DEADLINE_S, KEEPALIVE_S, Target

# paramiko reports every refused connection here too; without a handler that goes to stderr,
# into whatever screen is there. What a user has to know is raised.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


def dial(target: Target) -> list[fabric.Connection]:
    """Open connections to the jump hosts and the target, each through the one before.

    Raises Unreachable, in words, when one cannot be reached, is not believed or does not let us
    in; nothing is left open then. Blocks: for threads.
    """
    chain: list[fabric.Connection] = []
    try:
        for hop in (*target.hops(), target):
            connection = _connection(hop, chain[-1] if chain else None)
            chain.append(connection)
            _open(hop, connection)
    except BaseException:
        hang_up(chain)
        raise
    return chain


class _Policy:
    """What paramiko asks about every host key, as it is given none to compare with itself."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def missing_host_key(self, client: object, hostname: str, key: Any) -> None:
        """Raises Unreachable, which ends the connection before anything was sent."""
        text = f"{key.get_name()} {key.get_base64()}"
        self._target.admit(asyncssh.import_public_key(text))


def _connection(target: Target, gateway: fabric.Connection | None) -> fabric.Connection:
    algorithms = target.host_key_algorithms()

    def transport(sock: Any, **options: Any) -> Any:
        made = paramiko.Transport(sock, **options)
        possible = made.get_security_options()
        possible.key_types = tuple(name for name in algorithms if name in possible.key_types)
        return made

    connection = fabric.Connection(
        host=target.address,
        user=target.login,
        port=target.port,
        # Neither ~/.ssh/config nor fabric's own files: both libraries go the same way.
        config=fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True),
        gateway=gateway,
        forward_agent=False,
        connect_timeout=int(CONNECT_DEADLINE_S),
        connect_kwargs=target.fabric_options() | {"transport_factory": transport},
    )
    # Without this line fabric takes every key, even a changed one.
    connection.client.set_missing_host_key_policy(_Policy(target))
    return connection


def _open(target: Target, connection: fabric.Connection) -> None:
    try:
        connection.open()
        connection.transport.set_keepalive(int(KEEPALIVE_S))
    except OakError:
        raise
    except paramiko.AuthenticationException as error:
        raise target.refused(str(error)) from error
    except paramiko.ChannelException as error:
        raise Unreachable(
            f"{target.name}: {target.where} is not reached from the jump host: {error.text}"
        ) from error
    except paramiko.ssh_exception.NoValidConnectionsError as error:
        raise target.no_answer(next(iter(error.errors.values()))) from error
    except paramiko.SSHException as error:
        if "No authentication methods" in str(error):
            raise target.refused("there is no key to offer") from error
        raise target.no_answer(error) from error
    except (OSError, EOFError) as error:
        raise target.no_answer(error) from error


def hang_up(chain: list[fabric.Connection]) -> None:
    """Close connections, the last one first; those that never opened too."""
    for connection in reversed(chain):
        connection.close()
        connection.client.close()  # what failed before it was open
