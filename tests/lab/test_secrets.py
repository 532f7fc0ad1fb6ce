"""No secret is anywhere but in its own file: passwords for sudo, and what the bus knows one by."""

from __future__ import annotations

import contextlib
import shlex
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.lab.fleet_hosts import FleetHosts, Host
from tests.lab.leaks import Search, Secret, Watch
from tests.lab.operator_tool import Operator
from tests.lab.requirements import MARKS

pytestmark = [*MARKS]

PREFIX = "opt/oakctl"
WRONG = "not-the-password-4711"


@contextlib.contextmanager
def exposed(host: Host, value: str) -> Iterator[None]:
    """A process on `host` that has `value` in its environment, for as long as it is needed."""
    variable = shlex.quote(f"EXPOSED={value}")
    host.run(f"systemd-run --quiet --unit=exposed env {variable} sleep infinity", root=True)
    try:
        yield
    finally:
        host.run("systemctl stop exposed", root=True)


def test_a_secret_that_is_somewhere_is_found(hosts: FleetHosts, operator: Operator) -> None:
    """The search itself: a word is put into each kind of place, and found in each."""
    host = hosts.bare("w-trixie")["w-trixie"]
    places = ("state", "sqlite", "base64", "disk", "memory", "journal", "process")
    words = {place: f"planted-{place}-0123456789abcdef" for place in places}
    operator.state.mkdir(parents=True)
    (operator.state / "some.log").write_text(f"line\n{words['state']}\n")
    with sqlite3.connect(operator.state / "some.db") as database:
        database.execute("create table t (c)")
        database.execute("insert into t values (?)", (words["sqlite"],))
    database.close()
    encoded = f"printf 'user:%s@host' {words['base64']} | base64 > encoded"
    host.run(f"echo {words['disk']} > written; {encoded}")
    host.run(f"echo {words['memory']} > /run/written; logger {words['journal']}", root=True)
    kept = frozenset({operator.state / "some.log"})
    search = Search([*(Secret(place, word) for place, word in words.items())])
    allowed = Search([Secret("state", words["state"], kept)])

    with exposed(host, words["process"]):
        search.host(host)
    search.operator(operator)
    allowed.operator(operator)

    for place in places:
        assert [found for found in search.found if found.startswith(f"{place} in")], place
    assert not allowed.found


def secrets_of(operator: Operator, hosts: Mapping[str, Host]) -> list[Secret]:
    """Every secret there is, each with the files that are made to hold it."""
    files = [*(operator.state / "credentials").rglob("*.secret")]
    for host in hosts.values():
        below = host.written / PREFIX / "etc"
        files += [file for file in below.rglob("*") if file.name.endswith(("secret", ".key"))]
    homes: dict[str, set[Path]] = {}
    for file in files:
        homes.setdefault(_body(file), set()).add(file)
    return [
        Secret(f"what {min(holders).name} holds", value, frozenset(holders))
        for value, holders in homes.items()
    ]


def _body(file: Path) -> str:
    """A secret as it stands in its file; of a private key the longest line."""
    return max(file.read_text().split(), key=len)


@pytest.fixture
def passwords(hosts: FleetHosts, operator: Operator) -> tuple[dict[str, Host], list[Secret]]:
    """Hosts, one of which asks for a password, and that password with a wrong one."""
    fleet = hosts.bare("orch", "w-bookworm")
    for host in fleet.values():
        operator.knows(host)
    asking = fleet["w-bookworm"]
    file = Path(operator.password_file(asking)[1])
    return fleet, [
        Secret("the password for sudo", asking.password, frozenset({file})),
        Secret("a wrong password", WRONG, frozenset({operator.home / "wrong"})),
    ]


def test_no_secret_is_anywhere_but_in_its_own_file(
    passwords: tuple[dict[str, Host], list[Secret]], operator: Operator
) -> None:
    fleet, known = passwords
    (operator.home / "wrong").write_text(f"{WRONG}\n")
    add = ("worker", "add", "w1", "--cluster", "edge", "--on", "w-bookworm", "--accept-new")
    search = Search(known)

    with Watch(search, operator, tuple(fleet.values())) as watch:
        operator.run("cluster", "create", "edge", "--on", "orch", "--accept-new")
        wrong = ("--sudo-password-file", str(operator.home / "wrong"))
        refused = operator.run(*add, *wrong, check=False)
        said = operator.run(*add, *operator.password_file(fleet["w-bookworm"]))
        operator.run("worker", "remove", "edge/w1", "--yes")
        again = operator.run(*add, *operator.password_file(fleet["w-bookworm"]))

    assert refused.returncode != 0
    assert "password" in refused.stderr
    assert watch.rounds > 0
    for done in (refused, said, again):
        search.look("what a command said", (done.stdout + done.stderr).encode())
    secrets = secrets_of(operator, fleet)
    each_is_its_owners_alone(secrets)
    everything = Search([*known, *secrets])
    everything.operator(operator)
    for host in fleet.values():
        everything.host(host)
    assert search.found | everything.found == set()


def each_is_its_owners_alone(secrets: list[Secret]) -> None:
    """Every file that is made to hold a secret is there, with mode 0600."""
    homes = {home for secret in secrets for home in secret.homes}
    # The root's, the worker's on both sides, the orchestrator's two, the CA's key, the server's.
    expected = {"root.secret", "w1.secret", "secret", "watcher.secret", "orchestrator.secret"}
    assert expected | {"ca.key", "server.key"} <= {home.name for home in homes}
    for home in homes:
        assert stat.S_IMODE(home.stat().st_mode) == 0o600, home
