"""Secrets in a cluster: a real bus and orchestrator, and who is given what."""

from __future__ import annotations

import signal
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from oakctl.errors import NotFound, UsageError
from oakctl.model import messages as m
from oakctl.model import subjects, wire
from oakctl.model.images import Layer, PlatformImage
from oakctl.model.secrets import PLAIN, REGISTRY, SecretUse, SecretValue, encoded
from oakctl.model.service import Code
from oakctl.orchestration.cluster import accounts, secrets
from oakctl.orchestration.cluster.secrets import Secrets, SecretsFile, changed, unneeded
from oakctl.orchestration.cluster.state import InstanceRecord, ServiceRecord, SettingsRecord, State
from oakctl.overlay import addressing
from tests.cluster.rig import TIMERS, Rig, Worker, running_rig, spec

VALUE = b"planted-in-a-cluster-4b7a"
PATIENT = replace(TIMERS, suspect_s=10.0, dead_s=20.0)  # nobody dies here
USES = (SecretUse("db", "db"),)


def secret(name: str = "db", version: int = 1, value: bytes = VALUE, **more: str) -> SecretValue:
    return SecretValue(name, version, encoded(value), more.pop("kind", PLAIN), **more)


async def send(rig: Rig, *put: SecretValue, forget: tuple[str, ...] = ()) -> None:
    change = m.SecretsChange(put, forget)
    assert (await rig.root.ask(subjects.CTL_SECRETS, change, m.Answer)).ok


async def ask(worker: Worker, instance: str) -> m.SecretsAnswer:
    subject = subjects.ask(worker.name, subjects.ASK_SECRETS)
    return await worker.ask(subject, m.SecretsRequest(instance), m.SecretsAnswer)


def files_with(value: bytes, folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and value in p.read_bytes()]


async def test_only_the_worker_of_an_instance_is_given_its_secrets(tmp_path: Path) -> None:
    async with running_rig(tmp_path, PATIENT) as rig:
        holder, other = await rig.join("w1"), await rig.join("w2")
        web = spec("web", secrets=USES)
        await send(rig, secret(), secret("unused"))
        (place,) = await rig.deployed(web)
        if place.worker == "w2":
            holder, other = other, holder
        name = place.observed.name

        given = await ask(holder, name)
        assert given.secrets == (secret(),)
        for asker, instance in ((other, name), (holder, f"{name}9"), (holder, "no instance")):
            refused = await ask(asker, instance)
            assert refused.secrets == ()
            assert "no such instance is on" in refused.error
        assert (await rig.root.full_state()).secrets == {"db": 1, "unused": 1}

        # It is in one file of its own: in none of the bus, and in no log.
        prefix = Path(str(rig.bus.layout.prefix))
        kept = Path(rig.bus.layout.state("secrets.json"))
        assert files_with(encoded(VALUE).encode(), prefix) == [kept]
        assert files_with(VALUE, prefix) == []
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600

        # An orchestrator that was killed has it again, with no root to ask.
        rig.end_orchestrator(signal.SIGKILL)
        await rig.root.client.close()
        rig.start_orchestrator()
        await holder.greet()
        assert (await ask(holder, name)).secrets == (secret(),)


async def test_a_removed_secret_is_not_given_and_a_late_value_changes_nothing(
    tmp_path: Path,
) -> None:
    async with running_rig(tmp_path, PATIENT) as rig:
        worker = await rig.join("w1")
        await send(rig, secret(version=5, value=b"new"))
        await send(rig, secret(version=4, value=b"late"))
        (place,) = await rig.deployed(spec("web", secrets=USES))
        assert [one.content for one in (await ask(worker, place.observed.name)).secrets] == [b"new"]
        await send(rig, forget=("db",))
        refused = await ask(worker, place.observed.name)
        assert refused.error == "secret db is not in this cluster"


async def test_a_login_is_for_workers_with_an_image_of_that_host(tmp_path: Path) -> None:
    async with running_rig(tmp_path, PATIENT) as rig:
        worker = await rig.join("w1")
        hub = secret("hub", kind=REGISTRY, registry="reg.example:5000", username="me")
        await send(rig, hub)
        subject = subjects.ask("w1", subjects.ASK_LOGIN)

        async def login(image: str) -> m.LoginAnswer:
            return await worker.ask(subject, m.LoginRequest(image), m.LoginAnswer)

        image = "reg.example:5000/web:1"
        assert "no instance on w1 is of this image" in (await login(image)).error
        worker.facts = replace(worker.facts, runtimes=("container",))
        await worker.greet()
        web = spec("web", virtualization="container", code=image)
        await rig.deployed(web)
        assert (await login(image)).login == hub
        assert (await login("reg.example:5000/other:1")).login is None


async def test_an_answer_goes_into_no_other_inbox(tmp_path: Path) -> None:
    async with running_rig(tmp_path, PATIENT) as rig:
        holder, thief = await rig.join("w1"), await rig.join("w2")
        await send(rig, secret())
        (place,) = await rig.deployed(spec("web", secrets=USES))
        if place.worker == "w2":
            holder, thief = thief, holder
        heard: list[Msg] = []

        async def hear(message: Msg) -> None:
            heard.append(message)

        inbox = f"{subjects.inbox(thief.name)}.caught"
        await thief.client.subscribe(inbox, cb=hear)
        request = wire.encode(m.SecretsRequest(place.observed.name))
        subject = subjects.ask(holder.name, subjects.ASK_SECRETS)
        await holder.client.publish(subject, request, reply=inbox)
        await ask(holder, place.observed.name)  # answered after the one before was read
        await thief.client.flush()
        assert heard == []


def state_with(*specs: ServiceRecord) -> State:
    subnets = addressing.worker_subnets("10.18.0.0/20")
    services = {record.job_name: record for record in specs}
    return State("edge", SettingsRecord("rom"), subnets, services=services)


def test_what_no_service_names_goes_after_a_while(tmp_path: Path) -> None:
    kept = Secrets(tmp_path / "secrets.json")
    hub = secret("hub", kind=REGISTRY, registry="docker.io", username="me")
    kept.change(m.SecretsChange((secret(), secret("old"), hub)))
    web = spec("web", secrets=USES, virtualization="container", code="nginx:1")
    needs = state_with(ServiceRecord(web.job_name, web))
    kept.tidy(needs, 0.0)
    kept.tidy(needs, secrets.KEEP_UNNEEDED_S - 1)
    assert set(kept.versions()) == {"db", "old", "hub"}
    kept.tidy(needs, secrets.KEEP_UNNEEDED_S)
    assert set(kept.versions()) == set(Secrets(tmp_path / "secrets.json").versions())
    assert set(kept.versions()) == {"db", "hub"}
    gone = state_with(ServiceRecord(web.job_name, web, gone_at=5.0))
    assert unneeded({"db": secret(), "hub": hub}, gone) == {"db", "hub"}


def test_a_full_disk_ends_nothing(tmp_path: Path) -> None:
    kept = Secrets(tmp_path / "secrets.json")
    kept.change(m.SecretsChange((secret(),)))
    in_the_way = tmp_path / "secrets.json.new"
    in_the_way.mkdir()
    for now in (0.0, 100.0):
        kept.tidy(state_with(), now)
    assert kept.versions() == {"db": 1}
    in_the_way.rmdir()
    kept.tidy(state_with(), 101.0)
    assert kept.versions() == {}


def test_what_was_needed_again_meanwhile_stays(tmp_path: Path) -> None:
    kept = Secrets(tmp_path / "secrets.json")
    kept.change(m.SecretsChange((secret(),)))
    web = spec("web", secrets=USES)
    kept.tidy(state_with(), 0.0)
    kept.tidy(state_with(ServiceRecord(web.job_name, web)), 50.0)
    kept.tidy(state_with(), 70.0)
    assert set(kept.versions()) == {"db"}


def test_a_damaged_file_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text("{")
    assert Secrets(tmp_path / "secrets.json").versions() == {}


def test_changes_keep_the_newest() -> None:
    before = {"db": secret(version=3)}
    assert changed(before, m.SecretsChange((secret(version=2, value=b"x"),))) == before
    again = m.SecretsChange((secret(version=3, value=b"same"),), forget=("other",))
    assert changed(before, again)["db"].content == b"same"
    assert VALUE.decode() not in repr(SecretsFile((secret(),)))


def test_images_that_are_pulled() -> None:
    layer = PlatformImage("linux/amd64", "a" * 64, 1, (Layer("b" * 64, 1, "c" * 64),))
    pushed = spec("web", virtualization="container", code="local/a:1", images=(layer,))
    assert pushed.pulled == ()
    both = spec(
        "web",
        virtualization="container",
        codes=(Code("x86_64", "local/a:1", (layer,)), Code("aarch64", "ghcr.io/a:1")),
    )
    assert both.pulled == ("ghcr.io/a:1",)
    with pytest.raises(NotFound):
        secrets.asked_by(state_with(), "w1", "app.ns.web.ns.instance.0")


def test_a_granted_root_gets_at_no_secret_of_the_owners() -> None:
    for changes in ({"secrets": USES}, {"codes": (Code("x86_64", "a"),)}):
        with pytest.raises(UsageError, match="have no secrets and one code"):
            accounts.enter_spec("guest", spec("web", **changes))
    image = "reg.example/web:1"
    for account, may in (("", True), ("guest", False)):
        web = accounts.enter_spec(account, spec("web", virtualization="container", code=image))
        record = InstanceRecord(web.job_name, 0, 1, 0.0, worker="w1")
        placed = state_with(ServiceRecord(web.job_name, web)).with_instance(record)
        assert secrets.pulls(placed, "w1", image) is may
