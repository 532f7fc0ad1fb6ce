"""Ways to a real OpenSSH server, the same for both libraries: aliases, hops, agents, keys."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from oakctl import paths
from oakctl.errors import OakError, Unreachable
from oakctl.model.views import HostView
from oakctl.remote import keyscan, openssh, tunnel
from oakctl.remote.connection import open_fabric
from oakctl.remote.identity import KeyLocked
from oakctl.remote.target import Target
from tests.remote import real_sshd
from tests.remote.real_sshd import run, server
from tests.remote.test_identity import add, agent, key_file, unlocked

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(real_sshd.why_not()), reason=real_sshd.why_not() or "-"),
]
__all__ = ["agent"]

Whoami = Callable[[Target], str]


def by_fabric(target: Target) -> str:
    with open_fabric(target) as remote:
        return remote.as_login("id -un").stdout.strip()


def by_asyncssh(target: Target) -> str:
    async def ask() -> str:
        async with tunnel.connect(target) as connection:
            return str((await connection.run("id -un", check=True)).stdout).strip()

    return asyncio.run(ask())


@pytest.fixture(params=[by_fabric, by_asyncssh], ids=["fabric", "asyncssh"])
def whoami(request: pytest.FixtureRequest) -> Whoami:
    return request.param  # type: ignore[no-any-return]


def configured(own_home: Path, text: str) -> Target:
    """A host that the operator named `pi`, reached as ssh_config says."""
    (own_home / ".ssh").mkdir(exist_ok=True)
    (own_home / ".ssh" / "config").write_text(text)
    return Target.of(HostView("pi", "pi", port=0), accept_new=True)


def lines(alias: str, there: Target, *more: str) -> str:
    options = (
        f"HostName {there.address}",
        f"Port {there.port}",
        f"User {there.user}",
        f"IdentityFile {there.identity_file}",
        *more,
    )
    return f"Host {alias}\n" + "".join(f"  {option}\n" for option in options)


def test_by_an_alias_alone(tmp_path: Path, own_home: Path, whoami: Whoami) -> None:
    with server(tmp_path / "s") as there:
        assert whoami(configured(own_home, lines("pi", there, "IdentitiesOnly yes"))) == there.user


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[tuple[Target, ...]]:
    """Three servers, each with its own user and key."""
    with ExitStack() as stack:
        yield tuple(stack.enter_context(server(tmp_path / name)) for name in ("a", "b", "c"))


def test_several_jumps_in_a_row_each_with_its_own_key(
    chain: tuple[Target, ...], own_home: Path, whoami: Whoami
) -> None:
    text = (
        lines("a", chain[0])
        + lines("b", chain[1], "ProxyJump a")
        + lines("pi", chain[2], "ProxyJump b")
    )
    target = configured(own_home, text)
    assert whoami(target) == chain[2].user
    stored = paths.known_hosts().read_text()
    assert all(f"[{each.address}]:{each.port} " in stored for each in chain)
    paths.known_hosts().unlink()
    with pytest.raises(Unreachable, match="host key of a, the jump host of pi"):
        whoami(replace(target, accept_new=False))


def test_by_a_proxy_command(tmp_path: Path, own_home: Path, whoami: Whoami) -> None:
    carry = tmp_path / "carry.py"
    carry.write_text(
        "import os, socket, sys, threading\n"
        "link = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def up():\n"
        "    while data := os.read(0, 65536): link.sendall(data)\n"
        "    link.shutdown(socket.SHUT_WR)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while data := link.recv(65536): os.write(1, data)\n"
    )
    with server(tmp_path / "s") as there:
        text = lines("pi", there, f"ProxyCommand python3 {carry} %h %p")
        assert whoami(configured(own_home, text)) == there.user


def test_a_proxy_command_that_fails_is_said(own_home: Path, whoami: Whoami) -> None:
    with pytest.raises(Unreachable, match="pi: "):
        whoami(configured(own_home, "Host pi\n  ProxyCommand false\n"))


def test_many_keys_of_an_agent_do_not_use_up_the_tries(
    tmp_path: Path, own_home: Path, whoami: Whoami, agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        add(agent, key_file(tmp_path / f"other{number}"))
    monkeypatch.setenv("SSH_AUTH_SOCK", agent)
    with server(tmp_path / "s", options="MaxAuthTries 3") as there:
        assert whoami(configured(own_home, lines("pi", there))) == there.user
        assert whoami(there) == there.user
        with pytest.raises(Unreachable, match="too many keys were tried") as caught:
            whoami(replace(there, identity_file=""))
        assert "-i KEY" in caught.value.hint


def test_an_encrypted_key(
    tmp_path: Path, own_home: Path, whoami: Whoami, agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(tmp_path / "s") as there:
        file = Path(there.identity_file)
        subprocess.run(
            ["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", file], check=True
        )
        with pytest.raises(KeyLocked, match="protected by a passphrase"):
            whoami(there)
        given = {str(file): "open sesame"}
        assert whoami(replace(there, passphrases=lambda name: given.get(name, ""))) == there.user
        # One that ssh_config names is needed only when nothing else is enough.
        with pytest.raises(KeyLocked):
            whoami(configured(own_home, lines("pi", there)))
        monkeypatch.setenv("SSH_AUTH_SOCK", agent)
        add(agent, unlocked(file, "open sesame"))
        assert whoami(there) == there.user
        assert whoami(configured(own_home, lines("pi", there, "IdentitiesOnly yes"))) == there.user
        monkeypatch.delenv("SSH_AUTH_SOCK")
        text = lines("pi", there, f"IdentityAgent {agent}", "IdentitiesOnly yes")
        assert whoami(configured(own_home, text)) == there.user


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        (kind, form)
        for kind in ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")
        for form in ("openssh", "pkcs1-pem", "pkcs8-pem")
        if (kind, form) != ("ssh-ed25519", "pkcs1-pem")  # there is no such format
    ],
)
def test_other_types_and_formats_of_keys(tmp_path: Path, kind: str, form: str) -> None:
    with server(tmp_path / "s") as there:
        other = tmp_path / "other"
        key = asyncssh.generate_private_key(kind)
        key.write_private_key(other, form)
        key.write_public_key(Path(f"/home/{there.user}/authorized"))
        target = replace(there, identity_file=str(other))
        assert by_fabric(target) == by_asyncssh(target) == there.user


def test_a_certificate_beside_the_key(tmp_path: Path, whoami: Whoami) -> None:
    authority = tmp_path / "authority"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(authority))
    options = f"TrustedUserCAKeys {authority}.pub"
    with server(tmp_path / "s", options=options) as there:
        other = tmp_path / "other"
        run("ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", str(other))
        words = ("-s", str(authority), "-I", "test", "-n", there.user, f"{other}.pub")
        run("ssh-keygen", "-q", *words)
        assert whoami(replace(there, identity_file=str(other))) == there.user


def test_ipv6_and_jumps_over_it(tmp_path: Path, own_home: Path, whoami: Whoami) -> None:
    if not Path("/proc/net/if_inet6").read_text().strip():
        pytest.skip("no IPv6 here")
    with server(tmp_path / "a", address="::1") as gate, server(tmp_path / "b", address="::1") as pi:
        assert whoami(gate) == gate.user
        assert f"[::1]:{gate.port} ssh-ed25519" in paths.known_hosts().read_text()
        key = Path(gate.identity_file)
        Path(f"/home/{pi.user}/authorized").write_text(Path(f"{key}.pub").read_text())
        jump = (f"{gate.user}@[::1]:{gate.port}",)
        assert whoami(replace(pi, identity_file=str(key), jump=jump)) == pi.user
        words = openssh.arguments(replace(pi, identity_file=str(key), jump=jump), ("id", "-un"))
        words[1:1] = ["-o", "BatchMode=yes"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.strip() == pi.user


def test_a_machine_that_was_set_up_anew(tmp_path: Path, own_home: Path, whoami: Whoami) -> None:
    with server(tmp_path / "s") as there:
        users = own_home / ".ssh" / "known_hosts"
        users.parent.mkdir()
        old = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode()
        users.write_text(f"[{there.address}]:{there.port} {old}")
        before = users.read_bytes()
        with pytest.raises(Unreachable, match="has changed") as caught:
            whoami(there)
        assert caught.value.message.count("SHA256:") == 2
        shown = asyncio.run(keyscan.look(there))
        assert (shown.state, len(shown.stored), shown.files) == ("changed", 1, (str(users),))
        with pytest.raises(OakError, match="nothing was changed"):
            asyncio.run(keyscan.trust(there, "SHA256:another"))
        assert asyncio.run(keyscan.trust(there, shown.fingerprint)).state == "trusted"
        assert whoami(replace(there, accept_new=False)) == there.user
        assert asyncio.run(keyscan.look(there)).state == "trusted"
        assert users.read_bytes() == before


def test_a_jump_host_is_looked_at_first(chain: tuple[Target, ...], own_home: Path) -> None:
    text = lines("a", chain[0]) + lines("pi", chain[1], "ProxyJump a")
    target = configured(own_home, text)
    first = asyncio.run(keyscan.look(target))
    assert (first.machine.name, first.state) == ("a, the jump host of pi", "unknown")
    asyncio.run(keyscan.trust(target, first.fingerprint))
    second = asyncio.run(keyscan.look(target))
    assert (second.machine.name, second.state) == ("pi", "unknown")
