"""Named secrets: where the root keeps them, what it refuses, and which cluster is sent what."""

from __future__ import annotations

import json
import sqlite3
import stat
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl import paths
from oakctl.client.root import RootClient
from oakctl.errors import Conflict, NotFound, UsageError
from oakctl.model.requests import ApplyRequest
from oakctl.model.secrets import LARGEST, encoded, registry_of
from oakctl.model.service import Code
from oakctl.orchestration.root.secret_delivery import due
from oakctl.orchestration.root.secrets import images_of
from tests.root.descriptor import application, service
from tests.root.fake_cluster import FakeCluster
from tests.root.stage import Stage, populate, until, upload
from tests.worker.stage import spec

VALUE = b"planted-with-the-root-c0de"
JOB = "ar.demo.Web.demo"


def with_secrets(*secrets: object) -> ApplyRequest:
    return ApplyRequest(application(service("Web", oakctl={"secrets": list(secrets)})))


async def placed(root: RootClient, cluster: FakeCluster) -> None:
    await until(
        "it to be placed", lambda: root.instances(JOB), lambda found: found[0].cluster != ""
    )


def nowhere_but_in(file: Path, value: bytes) -> None:
    """The value is in this file, of mode 0600, and in no other of the root's."""
    writings = (value, encoded(value).encode())
    found = [
        path
        for path in paths.state_directory().rglob("*")
        if path.is_file() and any(one in path.read_bytes() for one in writings)
    ]
    assert found == [file]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with sqlite3.connect(f"file:{paths.database()}?mode=ro", uri=True) as connection:
        dumped = "\n".join(connection.iterdump()).encode()
    connection.close()
    assert not any(one in dumped for one in writings)


async def answered(path: str) -> bytes:
    transport = httpx.AsyncHTTPTransport(uds=str(paths.root_socket()))
    async with httpx.AsyncClient(transport=transport, base_url="http://root") as client:
        return (await client.get(path)).content


async def test_kept_in_a_file_of_its_own_and_shown_to_nobody(stage: Stage) -> None:
    async with stage.root() as root:
        view = await root.secrets.put("db-password", VALUE)
        assert (view.name, view.kind, view.services) == ("db-password", "plain", ())
        file = paths.secrets_directory() / "db-password.json"
        nowhere_but_in(file, VALUE)
        again = await root.secrets.put("db-password", b"another")
        assert again.changed_at > view.changed_at
        assert [one.name for one in await root.secrets.all()] == ["db-password"]
        for path in ("/v1/secrets", "/v1/secrets/db-password", "/v1/status", "/v1/events?limit=50"):
            body = await answered(path)
            assert b"another" not in body
            assert encoded(b"another").encode() not in body
    # A new root has them again.
    async with stage.root() as root:
        assert [one.name for one in await root.secrets.all()] == ["db-password"]
        assert (await root.secrets.remove("db-password")).name == "db-password"
        assert await root.secrets.all() == ()
        with pytest.raises(NotFound) as gone:
            await root.secrets.remove("db-password")
        assert gone.value.hint == "oakctl secret ls"
        assert not file.exists()


REFUSED: tuple[tuple[str, bytes, str, str, str], ...] = (
    ("-x", b"v", "", "", "cannot be the name of a secret"),
    ("a" * 64, b"v", "", "", "cannot be the name of a secret"),
    ("a", b"", "", "", "nothing was given"),
    ("a", b"x" * (LARGEST + 1), "", "", "500001 bytes"),
    ("a", b"v", "ghcr.io", "", "a login has a registry and a username"),
    ("a", b"v", "", "me", "a login has a registry and a username"),
    ("a", b"v", "https://ghcr.io/x", "me", "is not the host of a registry"),
    ("a", b"\xff", "ghcr.io", "me", "is not text"),
)


async def test_what_cannot_be_a_secret(stage: Stage) -> None:
    async with stage.root() as root:
        for name, value, registry, username, said in REFUSED:
            with pytest.raises(UsageError, match=said):
                await root.secrets.put(name, value, registry, username)
        assert await root.secrets.all() == ()


async def test_an_unknown_secret_is_refused_with_what_to_type(stage: Stage) -> None:
    async with stage.root() as root:
        await upload(root)
        with pytest.raises(NotFound, match="there is no secret db-password") as refused:
            await root.apply(with_secrets("db-password"))
        assert refused.value.hint == "oakctl secret set db-password"
        assert await root.applications() == ()

        await root.secrets.put("binary", b"\xff\xfe")
        with pytest.raises(Conflict, match="secret binary is not text: it cannot be the variable"):
            await root.apply(with_secrets({"name": "binary", "as": "env"}))
        await root.secrets.put("hub", b"token", "ghcr.io", "me")
        with pytest.raises(Conflict, match=r"secret hub is the login for ghcr\.io"):
            await root.apply(with_secrets("hub"))
        await root.secrets.put("hub", b"token", "index.docker.io", "me")
        with pytest.raises(Conflict, match=r"secret hub is the login for docker\.io"):
            await root.secrets.put("other", b"token", "docker.io", "me")


async def test_a_cluster_has_what_its_services_need_and_hears_of_changes(stage: Stage) -> None:
    edge, other = await stage.cluster("edge"), await stage.cluster("other", room=0)
    async with stage.root() as root:
        await populate(root, "edge", "other")
        await upload(root)
        await root.secrets.put("db-password", VALUE)
        await root.secrets.put("not-needed", b"x")
        await root.apply(with_secrets("db-password", {"name": "db-password", "as": "env"}))
        await placed(root, edge)
        assert [one.content for one in edge.secrets.values()] == [VALUE]
        assert "not-needed" not in other.secrets

        view = await root.secrets.put("db-password", b"newer")
        assert view.services == (JOB,)
        await until(
            "the new value to be there",
            root.status,
            lambda _: edge.secrets["db-password"].content == b"newer",
        )
        with pytest.raises(Conflict, match=f"secret db-password is given to {JOB}"):
            await root.secrets.remove("db-password")
        with pytest.raises(Conflict, match="it cannot be the variable DB_PASSWORD"):
            await root.secrets.put("db-password", b"\xff")
        nowhere_but_in(paths.secrets_directory() / "db-password.json", b"newer")

        await root.secrets.remove("db-password", force=True)
        await until("the cluster to forget it", root.status, lambda _: not edge.secrets)

        # Nothing more of the service is placed without it, and that is the reason.
        await root.scale(JOB, 2)
        waiting = await until(
            "the reason",
            lambda: root.instances(JOB),
            lambda found: "there is no secret db-password" in found[-1].reason,
        )
        assert waiting[-1].cluster == ""


async def test_an_orchestrator_without_its_file_is_sent_everything_again(stage: Stage) -> None:
    edge = await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        await upload(root)
        await root.secrets.put("db-password", VALUE)
        await root.apply(with_secrets("db-password"))
        await placed(root, edge)
        edge.secrets.clear()
        await until("it to be sent again", root.status, lambda _: "db-password" in edge.secrets)


async def test_restart_gives_every_instance_a_new_epoch(stage: Stage) -> None:
    edge = await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        await upload(root)
        await root.apply(ApplyRequest(application(service("Web", 2))))
        before = await until(
            "both to run",
            lambda: root.instances(JOB),
            lambda found: [one.ready for one in found] == [True, True],
        )
        view = await root.restart("Web", at_once=True)
        assert (view.wanted, view.ready) == (2, 0)
        after = await until(
            "both to run again",
            lambda: root.instances(JOB),
            lambda found: [one.ready for one in found] == [True, True],
        )
        assert all(a.epoch > b.epoch for a, b in zip(after, before, strict=True))
        await root.delete_application("ar.demo")
        with pytest.raises((Conflict, NotFound)):
            await root.restart(JOB, at_once=True)
    assert edge.offers


NAMES = st.sampled_from(["a", "b", "c"])
VERSIONS = st.dictionaries(NAMES, st.integers(0, 3))


@given(st.frozensets(NAMES), VERSIONS, VERSIONS)
def test_a_cluster_is_sent_what_it_lacks_and_no_more(
    needed: frozenset[str], known: dict[str, int], there: dict[str, int]
) -> None:
    found = due(needed, known, there)
    assert set(found.put) <= needed & known.keys()
    assert all(there.get(name, -1) < known[name] for name in found.put)
    assert set(found.forget) == (needed & there.keys()) - known.keys()
    after = {name: v for name, v in there.items() if name not in found.forget}
    after |= {name: known[name] for name in found.put}
    assert due(needed, known, after).nothing
    assert all(after[name] >= known[name] for name in needed & known.keys())


def test_whose_image_it_is() -> None:
    for image, host in (
        ("nginx", "docker.io"),
        ("library/nginx:1", "docker.io"),
        ("index.docker.io/me/web", "docker.io"),
        ("ghcr.io/me/web:1", "ghcr.io"),
        ("localhost/web", "localhost"),
        ("Reg.Example:5000/web", "reg.example:5000"),
    ):
        assert registry_of(image) == host
    both = spec(
        "x",
        virtualization="container",
        codes=(Code("x86_64", "ghcr.io/a"), Code("aarch64", "quay.io/b")),
    )
    assert images_of(both) == {"ghcr.io", "quay.io"}
    assert images_of(spec("a" * 64)) == frozenset()


def test_a_secret_file_is_json_with_its_value_only_there(own_directories: Path) -> None:
    from oakctl.model import wire
    from oakctl.model.secrets import SecretValue

    body = json.loads(wire.encode(SecretValue("a", 1, encoded(b"x"))))
    assert body["value"] == encoded(b"x")
