"""Errors, streams and bad requests over the real socket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from oakctl import paths
from oakctl.errors import NotFound, OakError, UsageError
from oakctl.model.requests import ApplyRequest
from oakctl.model.views import HostView
from oakctl.orchestration.root.hosts import Hosts
from tests.root.descriptor import application, service
from tests.root.stage import Stage, upload


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """No clusters: what is asked here is answered by the root alone."""
    return Stage(tmp_path)


def raw() -> httpx.AsyncClient:
    """A client without our manners."""
    transport = httpx.AsyncHTTPTransport(uds=str(paths.root_socket()))
    return httpx.AsyncClient(transport=transport, base_url="http://root")


async def test_every_error_has_one_form(stage: Stage) -> None:
    async with stage.root(), raw() as http:
        for method, path, status, code in (
            ("GET", "/v1/clusters/none", 404, 3),
            ("GET", "/nowhere", 404, 3),
            ("POST", "/v1/status", 405, 2),
            ("POST", "/v1/clusters", 400, 2),
            ("GET", "/v1/events?after=soon", 400, 2),
            ("PUT", "/v1/artifacts/short", 400, 2),
        ):
            answer = await http.request(method, path)
            body = answer.json()
            assert (answer.status_code, body["exit_code"]) == (status, code), path
            assert set(body) == {"error", "hint", "exit_code", "details"}
        answer = await http.post("/v1/clusters", content=b"{not json")
        assert answer.status_code == 400
        assert "paths" in (await http.get("/openapi.json")).json()


async def test_a_fault_of_ours_is_a_clean_answer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: Hosts) -> None:
        raise ZeroDivisionError("by zero")

    async with stage.root() as root:
        with monkeypatch.context() as patch:
            patch.setattr(Hosts, "all", broken)
            with pytest.raises(OakError, match="the root failed: ZeroDivisionError") as failed:
                await root.hosts()
        assert failed.value.exit_code == 1
        assert await root.hosts() == ()
    assert "Traceback" in caplog.text


async def test_hosts_are_stored_changed_and_forgotten(stage: Stage) -> None:
    async with stage.root() as root:
        host = HostView("pi-1", "10.0.0.7", user="pi", jump=("me@gate:22",), role="mine")
        stored = await root.put_host(host)
        assert (stored.role, stored.jump, stored.user) == ("", ("me@gate:22",), "pi")
        await root.put_host(HostView("pi-1", "10.0.0.8"))
        with pytest.raises(UsageError, match="not a name for a host"):
            await root.put_host(HostView("Pi 1", "10.0.0.7"))
    async with stage.root() as root:
        assert [h.address for h in await root.hosts()] == ["10.0.0.8"]
        await root.forget_host("pi-1")
        with pytest.raises(NotFound):
            await root.forget_host("pi-1")


async def test_events_are_followed_as_they_come(stage: Stage) -> None:
    async with stage.root() as root:
        await upload(root)
        seen: list[str] = []
        enough = asyncio.Event()

        async def follow() -> None:
            async for event in root.events(follow=True):
                seen.append(event.kind)
                if seen.count("service.scaled") == 2:
                    enough.set()
                    return

        following = asyncio.create_task(follow())
        await root.apply(ApplyRequest(application(service("Rec", 0))))
        await root.scale("Rec", 2)
        await root.scale("Rec", 1)
        async with asyncio.timeout(20):
            await enough.wait()
            await following
        assert seen[0] == "application.applied"
        last = [event async for event in root.events(after=-1)]
        assert len(last) == 1
        assert len([event async for event in root.events(limit=2)]) == 2


async def test_an_artifact_is_taken_once_and_only_whole(stage: Stage) -> None:
    async with stage.root() as root, raw() as http:
        digest = await upload(root)
        assert await upload(root) == digest
        answer = await http.put(f"/v1/artifacts/{'0' * 64}", content=b"something else")
        assert answer.status_code == 400
        assert "sha256 is" in answer.json()["error"]
        kept = [path.name for path in (paths.state_directory() / "artifacts").iterdir()]
        assert kept == [digest]


async def test_a_stream_tells_its_error_as_its_last_line(stage: Stage) -> None:
    async with stage.root() as root, raw() as http:
        await upload(root)
        await root.apply(ApplyRequest(application(service("Rec"))))
        answer = await http.get("/v1/instances/Rec.instance.0/logs")
        last = json.loads(answer.text.splitlines()[-1])
        assert last["exit_code"] == 6
        assert "has no place yet" in last["error"]
        view = await root.instance("Rec.instance.0")
        assert "there is no cluster" in view.reason or view.reason == ""
