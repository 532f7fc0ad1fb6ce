"""What needs no engine: the request, labels, words, progress, housekeeping, output."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.instance import DesiredInstance
from oakctl.model.node import ContainerGrants
from oakctl.model.resources import Resources
from oakctl.model.service import AddedFiles, Port, Volume
from oakctl.orchestration.worker import procfs, record
from oakctl.orchestration.worker.attempt import Attempt
from oakctl.orchestration.worker.docker import (
    accelerators,
    housekeeping,
    outputs,
    request,
    seen,
    words,
)
from oakctl.orchestration.worker.docker.accelerators import Accelerators, Assigned, assign
from oakctl.orchestration.worker.docker.calls import AT_ONCE, Calls
from oakctl.orchestration.worker.docker.driver import Driver
from oakctl.orchestration.worker.docker.errors import EngineAway, EngineRefused
from oakctl.orchestration.worker.docker.housekeeping import Brought, Ledger
from oakctl.orchestration.worker.docker.images import Images
from oakctl.orchestration.worker.docker.outputs import Mark
from oakctl.orchestration.worker.docker.progress import PullProgress
from oakctl.orchestration.worker.docker.request import Node, Surroundings
from oakctl.orchestration.worker.docker.runtime import DockerRuntime
from oakctl.orchestration.worker.launch import CannotStart
from oakctl.overlay.host import HostDriver
from tests.worker.stage import spec, until

NODE = Node("edge", "w1", "/opt/oakctl", cpus=4.0)
AROUND = Surroundings("sha256:image", "192.0.2.7")
NAME = "app.ns.srv.ns.instance.0"


def instance(**changes: object) -> DesiredInstance:
    return DesiredInstance(spec("web:1", virtualization="container", **changes), 0, 3, "10.18.0.70")


def host_config(around: Surroundings = AROUND, node: Node = NODE, **changes: object) -> dict:  # type: ignore[type-arg]
    found = request.body(instance(**changes), 1, node, around)["HostConfig"]
    assert isinstance(found, dict)
    return found


def test_a_plain_container_gets_nothing() -> None:
    config = host_config()
    assert config["CapDrop"] == ["ALL"]
    assert config["CapAdd"] == []
    assert config["SecurityOpt"] == ["no-new-privileges"]
    assert config["RestartPolicy"] == {"Name": "no"}
    assert config["Devices"] == config["Mounts"] == []
    assert config["PidsLimit"] == request.MOST_PROCESSES
    assert not {"Privileged", "Memory", "NanoCpus", "DeviceRequests", "Runtime"} & config.keys()


def test_labels_name_the_start() -> None:
    body = request.body(instance(), 7, NODE, AROUND)
    assert seen.key_of(body["Labels"]) == seen.Key(NAME, 3, 7)
    assert body["Labels"][seen.PREFIX] == "/opt/oakctl"
    assert request.container_name(NODE, instance(), 7).endswith(f".{NAME}.3.7")
    other = request.container_name(replace(NODE, prefix="/x"), instance(), 7)
    assert other != request.container_name(NODE, instance(), 7)
    assert "Cmd" not in body
    assert request.body(instance(cmd=("a", "b")), 1, NODE, AROUND)["Cmd"] == ["a", "b"]


@given(
    st.floats(0, 64, allow_nan=False), st.integers(0, 1_000_000), st.sampled_from([0.5, 1.0, 8.0])
)
def test_limits(vcpus: float, memory: int, cpus: float) -> None:
    node = replace(NODE, cpus=cpus)
    config = host_config(node=node, requests=Resources(vcpus=vcpus, memory_mb=memory))
    assert ("NanoCpus" in config) == (vcpus > 0)
    assert 10_000_000 <= config.get("NanoCpus", 10_000_000) <= cpus * 1e9
    assert ("Memory" in config) == (memory > 0)
    assert config.get("Memory", 0) == config.get("MemorySwap", 0) == memory * 1024 * 1024


def test_limits_in_words() -> None:
    service = instance(requests=Resources(vcpus=0.5, memory_mb=64)).service
    text = "cpu 0.5 memory 64 MiB pids 512 (Docker)"
    assert request.limits_in_words(service, NODE, ()) == text
    missing = request.limits_in_words(service, NODE, ("memory",))
    assert missing == f"{text}; limits not enforced: memory"


def test_ports_on_a_bridge_and_on_the_hosts_network() -> None:
    ports = {"ports": (Port(80, 8080), Port(53, 0, "udp")), "listen": (Port(9000),)}
    body = request.body(instance(**ports), 1, NODE, AROUND)
    assert body["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "192.0.2.7", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "192.0.2.7", "HostPort": "53"}],
        "9000/tcp": [{"HostIp": "192.0.2.7", "HostPort": "9000"}],
    }
    assert body["ExposedPorts"].keys() == {"80/tcp", "53/udp", "9000/tcp"}
    assert "OAKCTL_BIND=0.0.0.0" in body["Env"]
    everywhere = request.body(instance(**ports), 1, NODE, replace(AROUND, bind="0.0.0.0"))
    assert everywhere["HostConfig"]["PortBindings"]["80/tcp"][0]["HostIp"] == ""
    lab = replace(NODE, network=request.HOST)
    inside = request.body(instance(**ports), 1, lab, replace(AROUND, bind="127.3.0.70"))
    assert inside["HostConfig"]["PortBindings"] == inside["ExposedPorts"] == {}
    assert inside["HostConfig"]["NetworkMode"] == "host"
    assert "OAKCTL_BIND=127.3.0.70" in inside["Env"]


def test_environment_of_ours_wins() -> None:
    desired = instance(environment=("A=1", "A=2", "OAKCTL_BIND=x", "B=a=b"))
    around = replace(AROUND, reach={"OAKCTL_ADDR_REC": "127.2.0.9"})
    found = request.environment(desired, NODE, around)
    assert found == [
        "A=2",
        "OAKCTL_BIND=0.0.0.0",
        "B=a=b",
        f"OAKCTL_INSTANCE={NAME}",
        "OAKCTL_ADDR_REC=127.2.0.9",
    ]
    desired.reach.update(X="10.30.0.9", Y="10.30.0.8")
    addresses = {"10.30.0.9": "127.2.0.9", "10.30.0.8": ""}
    assert request.reachable(desired, addresses.__getitem__) == {"X": "127.2.0.9"}


def test_storage() -> None:
    config = host_config(
        around=replace(AROUND, folders={"a" * 64: "/opt/oakctl/artifacts/a"}),
        volumes=(Volume("store", "/data"), Volume("/srv/x", "/x", read_only=True)),
        added_files=(AddedFiles("a" * 64, "/models"),),
        read_only=True,
    )
    assert config["ReadonlyRootfs"] is True
    volume, path, added = config["Mounts"]
    assert (volume["Type"], volume["Source"], volume["Target"]) == (
        "volume",
        "oakctl.app.ns.store",
        "/data",
    )
    assert volume["VolumeOptions"]["Labels"][seen.WORKER] == "w1"
    assert (path["Type"], path["Source"], path["ReadOnly"]) == ("bind", "/srv/x", True)
    assert (added["Source"], added["Target"], added["ReadOnly"]) == (
        "/opt/oakctl/artifacts/a",
        "/models",
        True,
    )


def test_privileged_is_whole() -> None:
    config = host_config(privileged=True)
    assert config["Privileged"] is True
    assert not {"CapDrop", "SecurityOpt"} & config.keys()


TWO = Accelerators(accelerators.NVIDIA, ("0", "1"), ("/dev/apex_0",))


def test_gpus_by_device_request() -> None:
    config = host_config(around=replace(AROUND, assigned=assign(1, 0, TWO, ["0"])))
    wanted = {"Driver": "nvidia", "DeviceIDs": ["1"], "Capabilities": [["gpu"]]}
    assert config["DeviceRequests"] == [wanted]
    assert config["Devices"] == []


def test_gpus_of_a_jetson_and_device_nodes() -> None:
    jetson = assign(1, 1, Accelerators(accelerators.JETSON, ("0",), ("/dev/apex_0",)))
    config = host_config(around=replace(AROUND, assigned=jetson))
    assert config["Runtime"] == "nvidia"
    assert [device["PathOnHost"] for device in config["Devices"]] == ["/dev/apex_0"]
    body = request.body(instance(), 1, NODE, replace(AROUND, assigned=jetson))
    assert "NVIDIA_VISIBLE_DEVICES=all" in body["Env"]
    nodes = assign(1, 0, Accelerators(accelerators.DEVICES, ("/dev/dri/card0",)))
    assert host_config(around=replace(AROUND, assigned=nodes))["Devices"] == [
        {
            "PathOnHost": "/dev/dri/card0",
            "PathInContainer": "/dev/dri/card0",
            "CgroupPermissions": "rwm",
        }
    ]


def test_gpus_that_are_declared_or_gone() -> None:
    assert assign(2, 0, Accelerators(declared=("vgpus",))) == Assigned()
    with pytest.raises(CannotStart, match="asks for 1 vgpus, 0 of 2 are free"):
        assign(1, 0, TWO, ["0", "1"])
    with pytest.raises(CannotStart, match="asks for 1 vtpus, 0 of 1"):
        assign(0, 1, TWO, (), ["/dev/apex_0"])


@given(st.lists(st.integers(0, 3), max_size=6))
def test_no_gpu_is_given_twice(asked: list[int]) -> None:
    here = Accelerators(accelerators.NVIDIA, tuple("0123"))
    taken: list[str] = []
    for count in asked:
        try:
            taken += assign(count, 0, here, taken).gpus
        except CannotStart:
            assert count > len(here.gpus) - len(taken)
    assert len(taken) == len(set(taken))


def test_what_docker_says_of_a_container() -> None:
    found = seen.read(
        {
            "Id": "abc",
            "Config": {
                "Labels": {
                    seen.INSTANCE: NAME,
                    seen.EPOCH: "3",
                    seen.ATTEMPT: "1",
                    seen.GPUS: "0,1",
                },
                "StopSignal": "SIGQUIT",
            },
            "State": {"Status": "exited", "ExitCode": 137, "OOMKilled": True, "Pid": 0},
            "NetworkSettings": {"IPAddress": "", "Networks": {"x": {"IPAddress": "172.17.0.2"}}},
        }
    )
    assert found.key == seen.Key(NAME, 3, 1)
    assert (found.exit_code, found.out_of_memory, found.lives) == (137, True, False)
    assert (found.address, found.stop_signal, found.gpus) == ("172.17.0.2", "SIGQUIT", ("0", "1"))
    running = seen.read({"Id": "d", "State": {"Status": "running", "Pid": 5, "ExitCode": 0}})
    assert (running.key, running.exit_code, running.lives) == (None, None, True)
    assert seen.key_of({seen.INSTANCE: NAME, seen.EPOCH: "x", seen.ATTEMPT: "1"}) is None


keys = st.builds(seen.Key, st.sampled_from([NAME, "b"]), st.integers(1, 3), st.integers(1, 3))


@given(st.lists(st.one_of(st.none(), keys), max_size=8), st.integers(1, 3), st.integers(1, 3))
def test_only_the_records_own_start_is_wanted(
    found: list[seen.Key | None], epoch: int, attempt: int
) -> None:
    known = replace(
        record.new(replace(instance(), epoch=epoch), 1.0),
        attempt=attempt,
        phase=record.Phase.RUNNING,
    )
    containers = [seen.Seen(str(n), key, "running") for n, key in enumerate(found)]
    left = seen.unwanted(containers, {NAME: known})
    own = seen.Key(NAME, epoch, attempt)
    assert [one.key for one in containers if one not in left] == [k for k in found if k == own]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (
            "driver failed programming external connectivity on endpoint x: Bind for "
            "0.0.0.0:8080 failed: port is already allocated",
            "port 8080 of this node is taken",
        ),
        (
            "Error starting userland proxy: listen tcp4 127.0.0.1:80: bind: address already in use",
            "port 80 of this node is taken by a program that is not ours",
        ),
        ("write /x: no space left on device", "no space left on this node"),
        ("manifest for x:1 not found: manifest unknown", "the registry has no such image"),
        (
            "no matching manifest for linux/arm64/v8 in the manifest list entries",
            "there is none for linux/arm64/v8, which this node is",
        ),
        ("toomanyrequests: You have reached", "the registry allows no more pulls for now"),
        (
            "pull access denied for x, repository does not exist or may require 'docker login'",
            "the registry refuses it: it is private, or is not there",
        ),
        (
            "Get https://r/v2/: x509: certificate signed by unknown authority",
            "the registry's certificate is not trusted: certificate signed by unknown authority",
        ),
        (
            "Get https://r/v2/: dial tcp: lookup r: no such host",
            "the registry's name is not found from this node",
        ),
        (
            'could not select device driver "nvidia" with capabilities: [[gpu]]',
            "Docker here can't hand in a GPU: install the NVIDIA container toolkit",
        ),
        (
            'exec: "serve": executable file not found in $PATH: unknown',
            "cannot run serve: it is not in the image",
        ),
        ("standard_init_linux.go:228: exec user process caused: exec format error",
         "cannot run it: the image is for another architecture"),
        ("Minimum memory limit allowed is 6MB", "its memory limit is below Docker's least, 6MB"),
        ("something\n  else", "something else"),
    ],
)  # fmt: skip
def test_errors_in_words(text: str, meaning: str) -> None:
    assert words.in_words(text) == meaning


def test_a_socket_that_leads_nowhere() -> None:
    def why(error: BaseException) -> str:
        return words.no_connection("/s", error)

    assert why(PermissionError(13, "Permission denied")).startswith("Docker's socket /s is forbid")
    assert why(ConnectionRefusedError(111, "Connection refused")).startswith("Docker is stopped")
    assert why(FileNotFoundError(2, "No such file")).startswith("Docker is stopped")
    assert why(ConnectionResetError(104, "Connection reset by peer")).endswith(
        "broke the connection off"
    )
    assert why(TimeoutError("timed out")) == "Docker does not answer at /s"


def test_an_api_that_is_too_old() -> None:
    assert words.too_old("20.10", "1.41") == words.too_old("19.03", "1.40") == ""
    assert "API 1.39, 1.40 (Docker 19.03) is the oldest" in words.too_old("18.09", "1.39")


def lines(*parts: tuple[str, str, int, int]) -> Iterable[dict[str, object]]:
    for layer, status, current, total in parts:
        yield {
            "id": layer,
            "status": status,
            "progressDetail": {"current": current, "total": total},
        }


def test_progress_of_a_pull() -> None:
    progress = PullProgress()
    shares = [
        progress.take(line)
        for line in lines(
            ("a", "Pulling fs layer", 0, 0),
            ("b", "Pulling fs layer", 0, 0),
            ("a", "Downloading", 50, 100),
            ("a", "Download complete", 0, 0),
            ("b", "Already exists", 0, 0),
            ("c", "Pulling fs layer", 0, 0),
            ("a", "Extracting", 100, 100),
            ("a", "Pull complete", 0, 0),
            ("c", "Pull complete", 0, 0),
        )
    ]
    assert shares == sorted(shares)
    assert shares[2] == pytest.approx(0.175)
    assert shares[-1] == 1.0


statuses = st.sampled_from(
    ["Pulling fs layer", "Downloading", "Download complete", "Extracting", "Pull complete", "?"]
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "a", "b", "c"]), statuses, st.integers(0, 9), st.integers(0, 9)
        )
    )
)
def test_progress_never_falls_and_stays_a_share(parts: list[tuple[str, str, int, int]]) -> None:
    progress, last = PullProgress(), 0.0
    for line in lines(*parts):
        share = progress.take(line)
        assert last <= share <= 1.0
        last = share


def test_images_go_by_age_and_by_pressure() -> None:
    ledger = Ledger((Brought("old:1", "1"), Brought("new:1", "2"), Brought("used:1", "3")))
    ledger = housekeeping.noted(ledger, {"new:1", "used:1"}, 1000.0)
    ledger = housekeeping.noted(ledger, {"used:1"}, 5000.0)

    def going(now: float, free: float) -> list[str]:
        return [image.reference for image in housekeeping.removable(ledger, now, free)]

    day = housekeeping.KEEP_UNUSED_S
    assert going(6000.0, 0.5) == []
    assert going(1000.0 + day, 0.5) == ["old:1"]
    assert going(5000.0 + day, 0.5) == ["old:1", "new:1"]
    assert going(6000.0, 0.05) == ["old:1"]
    assert going(1001.0, 0.05) == []
    again = housekeeping.noted(ledger, {"old:1", "new:1", "used:1"}, 9000.0)
    assert housekeeping.removable(again, 9000.0 + 9 * day, 0.0) == ()


def test_names_of_images_with_their_tag() -> None:
    full = housekeeping.full_reference
    assert full("web") == "web:latest"
    assert full("host:5000/a/web") == "host:5000/a/web:latest"
    assert full("host:5000/a/web:1") == "host:5000/a/web:1"
    assert full("web@sha256:" + "a" * 64) == "web@sha256:" + "a" * 64


def test_ledger_knows_what_we_brought() -> None:
    ledger = Ledger().with_image("a:1", "1").with_image("b:1", "2").with_image("a:1", "3")
    assert ledger.has("a:1")
    assert not ledger.has("c:1")
    assert {image.id for image in ledger.images} == {"2", "3"}
    assert ledger.without("a:1").images == (Brought("b:1", "2"),)


stamps = st.lists(st.integers(0, 4), max_size=30).map(sorted)


@given(stamps, st.lists(st.integers(1, 30), max_size=6))
def test_every_line_is_taken_once(times: list[int], looks: list[int]) -> None:
    """Each look sees all lines from the second of the last one on, as Docker gives them."""
    said = [
        f"2026-01-01T00:00:0{time}.000000000Z line {number}\n".encode()
        for number, time in enumerate(times)
    ]
    mark, text = Mark("c"), b""
    for upto in [*sorted(looks), len(said)]:
        since = seen.seconds(mark.at)
        visible = [line for line in said[:upto] if seen.seconds(line[:30].decode()) >= int(since)]
        fresh, mark = outputs.new_lines(visible, mark, "c")
        text += fresh
    assert text == b"".join(line.partition(b" ")[2] for line in said)


def test_dockers_time_as_seconds() -> None:
    assert seen.seconds("") == 0.0
    assert seen.seconds("1970-01-02T00:00:01.999999999Z") == 86401.0


async def test_what_a_look_says_of_a_start(tmp_path: Path) -> None:
    driver = Driver(str(tmp_path / "none"), "/p", lambda: None)
    runtime = runtime_with(driver, tmp_path)
    known = replace(record.new(instance(), 1.0), attempt=1, phase=record.Phase.RUNNING)
    key = seen.key_of_record(known)
    assert runtime.look(known).held, "nobody has looked yet"
    driver.known = True
    assert runtime.look(known).never_ran
    fresh = seen.Seen("id", key, "created", created_at=float(int(time.time())))
    driver.seen[key] = fresh
    assert runtime.look(known).held, "its start may be under way"
    driver.seen[key] = replace(fresh, created_at=1.0)
    assert runtime.look(known).never_ran
    here = procfs.stat_of(os.getpid())
    assert here is not None
    driver.seen[key] = replace(fresh, state="running", pid=here.pid, start=here.start)
    assert runtime.look(known).lives, "Docker is away, its process is there"
    driver.seen[key] = replace(fresh, state="running", pid=here.pid, start=here.start + 1)
    assert runtime.look(known) == Attempt(held=True)
    driver.seen[key] = driver.seen[key].removed
    gone = runtime.look(known)
    assert gone.over
    assert not gone.never_ran
    assert "removed" in gone.words


def runtime_with(driver: Driver, folder: Path) -> DockerRuntime:
    async def collect(_: seen.Seen) -> None:
        pass

    images = Images(driver, folder / "images.json", lambda: None)
    return DockerRuntime(
        driver, images, None, HostDriver(""), lambda: NODE,  # type: ignore[arg-type]
        ContainerGrants(), Accelerators(), collect, lambda: None,
    )  # fmt: skip


def test_an_agent_without_docker_loads_nothing_of_it() -> None:
    code = (
        "import sys, oakctl.orchestration.worker.process\n"
        "print([n for n in sys.modules if n == 'docker' or '.worker.docker' in n])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_call_has_a_deadline_and_raises_what_it_raised() -> None:
    calls, go = Calls(), threading.Event()
    assert await calls.run(lambda: 7, what="counting") == 7

    def fails() -> None:
        raise EngineRefused("no", 409)

    with pytest.raises(EngineRefused, match="no"):
        await calls.run(fails, what="asking")
    with pytest.raises(EngineAway, match=r"Docker does not answer \(waiting: 0 s\)"):
        await calls.run(go.wait, 30.0, what="waiting", deadline_s=0.05)
    waiting = asyncio.ensure_future(calls.run(go.wait, 30.0, what="waiting"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go.set()


async def test_only_so_many_calls_at_once() -> None:
    calls, go, started = Calls(), threading.Event(), []

    def work(number: int) -> int:
        started.append(number)
        go.wait(30)
        return number

    tasks = [asyncio.ensure_future(calls.run(work, n, what="working")) for n in range(8)]
    await until(lambda: len(started) == AT_ONCE, "the first calls")
    assert len(started) == AT_ONCE
    go.set()
    assert sorted(await asyncio.gather(*tasks)) == list(range(8))
