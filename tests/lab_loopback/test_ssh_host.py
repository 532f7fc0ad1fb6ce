"""What a real SSH client finds on a lab's host."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import asyncssh
import pytest

from oakctl.lab import loopback
from oakctl.lab.loopback import Lab
from tests.waiting import until

from .conftest import connect


async def test_a_command_has_the_hosts_environment_and_its_streams(lab: Lab) -> None:
    async with connect(lab.host("h1")) as client:
        answer = await client.run(
            'printf %s "$HOME $OAKCTL_HOST $OAKCTL_LAB $OAKCTL_HOST_ADDRESS"; echo no >&2; exit 3'
        )
        declared = await client.run('echo "$OAKCTL_DECLARED"; echo "$OAKCTL_LOCATION"')
    home = lab.directory / "homes" / "h1"
    assert answer.stdout == f"{home} h1 {lab.id} {lab.host('h1').address}"
    assert (answer.stderr, answer.exit_status) == ("no\n", 3)
    lines = str(declared.stdout).splitlines()
    assert json.loads(lines[0]) == {"vcpus": 2, "memory_mb": 512, "vgpus": 1}
    assert lines[1] == "48.1,11.5"


async def test_python3_is_a_plain_one_outside_every_virtual_environment(lab: Lab) -> None:
    script = "import sys; print(sys.prefix == sys.base_prefix, sys.version_info >= (3, 10))"
    async with connect(lab.host("h2")) as client:
        answer = await client.run(f"python3 -c '{script}'")
    assert answer.stdout == "True True\n"


async def test_large_input_and_output_pass_unchanged(lab: Lab) -> None:
    body = os.urandom(3_000_000)
    async with connect(lab.host("h1")) as client:
        answers = await asyncio.gather(
            *(client.run("cat", input=body, encoding=None) for _ in range(3))
        )
    assert all(answer.stdout == body for answer in answers)
    assert "ERROR" not in (lab.directory / "keeper.log").read_text()


async def test_a_program_that_leaves_its_input_unread_does_not_hang(lab: Lab) -> None:
    async with connect(lab.host("h1")) as client:
        # The first byte: asyncssh's client refuses to write to what has ended already.
        answer = await client.run("head -c 1 >/dev/null; exit 5", input="x" * 1_000_000)
    assert answer.exit_status == 5


async def test_a_shell_on_a_terminal(lab: Lab) -> None:
    async with (
        connect(lab.host("h1")) as client,
        client.create_process(term_type="xterm", term_size=(90, 33)) as shell,
    ):
        shell.stdin.write("stty size; tty; exit 4\n")
        output = await shell.stdout.read()
        await shell.wait_closed()
    assert "33 90" in output
    assert "/dev/pts/" in output
    assert shell.exit_status == 4


async def test_sftp_starts_at_home_and_reaches_the_real_file_system(lab: Lab, state: Path) -> None:
    outside = state / "outside"
    async with connect(lab.host("h2")) as client, client.start_sftp_client() as sftp:
        assert await sftp.realpath(".") == str(lab.directory / "homes" / "h2")
        async with sftp.open("a", "w") as file:
            await file.write("home")
        async with sftp.open(str(outside), "w") as file:
            await file.write("elsewhere")
    assert (lab.directory / "homes" / "h2" / "a").read_text() == "home"
    assert outside.read_text() == "elsewhere"


async def test_ports_are_forwarded_to_loopback_addresses_alone(lab: Lab) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(greet, lab.host("h2").address, 0)
    port = server.sockets[0].getsockname()[1]
    async with connect(lab.host("h1")) as client:
        reader, writer = await client.open_connection(lab.host("h2").address, port, encoding=None)
        assert await reader.read() == b"hello"
        writer.close()
        with pytest.raises(asyncssh.ChannelOpenError):
            await client.open_connection("192.0.2.1", 80)
    server.close()
    await server.wait_closed()


async def test_only_the_labs_key_and_user_are_let_in(lab: Lab) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    for options in ({"client_keys": [stranger]}, {"username": "somebody"}):
        with pytest.raises(asyncssh.PermissionDenied):
            async with connect(lab.host("h1"), **options):
                pass


async def test_what_a_session_runs_ends_with_its_connection(lab: Lab, state: Path) -> None:
    marker = state / "pid"
    async with connect(lab.host("h1")) as client:
        await client.create_process(f"echo $$ > {marker}; sleep 600")
        await until("the command runs", lambda: marker.exists() and bool(marker.read_text()))
    pid = int(marker.read_text())
    await until("the command is gone", lambda: not Path(f"/proc/{pid}").exists())


async def test_the_log_tells_of_every_login_and_command(lab: Lab) -> None:
    async with connect(lab.host("h2")) as client:
        await client.run("echo one\necho two")
    lines = lab.ssh_log.read_text().splitlines()
    assert [line.split(" ", 2)[1:] for line in lines] == [
        ["h2", f'login from 127.0.0.1 "{lab.host("h2").user}"'],
        ["h2", 'exec "echo one\\necho two"'],
    ]


async def test_two_labs_at_once_have_addresses_of_their_own(lab: Lab) -> None:
    other = await loopback.up("u", [loopback.LabHost("h1")])
    try:
        assert not {host.address for host in other.hosts} & {host.address for host in lab.hosts}
        async with connect(other.host("h1")) as client:
            assert (await client.run("echo $OAKCTL_LAB")).stdout == f"{other.id}\n"
    finally:
        await loopback.down("u")
