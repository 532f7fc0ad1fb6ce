"""What the wizard remembers and decides, without a screen."""

from __future__ import annotations

import shlex
import stat
from pathlib import Path

import pytest

from oakctl.errors import OakError
from oakctl.fleet import reading, writing
from oakctl.fleet.plan import Change
from oakctl.fleet.state import Checked as HostChecked
from oakctl.fleet.state import Fault, Seen
from oakctl.model.requests import WorkerAdd
from oakctl.model.views import HostFinding, HostMachine, HostView, StepEvent, WorkerView
from oakctl.tui.screens.wizard import finishing
from oakctl.tui.wizard import checking, draft, hosts, proposing
from oakctl.tui.wizard.checking import Checked
from oakctl.tui.wizard.draft import Draft, Role, Step
from oakctl.tui.wizard.progress import ApplyProgress

from . import fleet

PI = HostView("pi-1", "192.168.1.20", 0, "pi")
JETSON = HostView("jetson", "192.168.1.21", 0, "nv")
SERVER = HostView("server", "10.0.0.1", 2222)


def machine(name: str, memory: int, gpus: int = 0) -> HostMachine:
    return HostMachine(name, "aarch64", "Debian", 4, memory, gpus=gpus)


MACHINES = {
    "pi-1": machine("pi-1", 2048),
    "jetson": machine("jetson", 16384, gpus=1),
    "server": machine("server", 8192),
}


def test_hosts_are_read_a_line_each_and_faults_name_the_line() -> None:
    typed = hosts.read(
        "# mine\npi-1=pi@192.168.1.20\nnv@192.168.1.21:2222  # remark\n\ngarden.local\nbad host\n"
        "pi-1=x@y\n[/x]\n-o=-o\nlab-w1\n",
        [HostView("lab-w1", "127.4.0.1", 2222, lab="x")],
    )
    assert [(h.name, h.address, h.port, h.user) for h in typed.hosts] == [
        ("pi-1", "192.168.1.20", 0, "pi"),
        ("host-192-168-1-21", "192.168.1.21", 2222, "nv"),
        ("garden", "garden.local", 0, ""),
        ("lab-w1", "127.4.0.1", 2222, ""),
    ]
    assert typed.hosts[3].lab == "x"
    assert [fault.partition(":")[0] for fault in typed.faults] == [
        "line 6",
        "line 7",
        "line 8",
        "line 9",
    ]


def test_ssh_config_names_hosts_but_no_patterns() -> None:
    text = "Host pi-* !x *\n  User a\nHost garden Shed.local # x\nhost=gate\nMatch host y\n"
    assert hosts.of_ssh_config(text) == ("garden=garden", "shed=Shed.local", "gate=gate")


def test_host_with_most_memory_and_no_gpu_orchestrates() -> None:
    roles = proposing.propose((PI, JETSON, SERVER), MACHINES)
    assert roles == {
        "pi-1": Role("edge", worker=True),
        "jetson": Role("edge", worker=True),
        "server": Role("edge", orchestrator=True),
    }


def test_host_that_is_alone_is_both_and_one_that_cannot_be_used_is_nothing() -> None:
    assert proposing.propose((PI, SERVER), MACHINES, {"server"}) == {
        "pi-1": Role("edge", orchestrator=True, worker=True),
        "server": Role(),
    }


def test_what_is_there_stays_and_new_hosts_join_it() -> None:
    there = HostView("server", "10.0.0.1", role="orchestrator of hall, worker hall/w9")
    roles = proposing.propose((there, PI), MACHINES)
    assert roles["server"] == Role("hall", orchestrator=True, worker=True)
    assert roles["pi-1"] == Role("hall", worker=True)
    asked = WorkerAdd("w9", "hall", "server", labels={"room": "a"})
    view = WorkerView("w9", "hall", "server", "ready", 0, None, asked)
    wanted = proposing.wanted(
        (there, PI), roles, [fleet.cluster("hall", policy="spread", host="server")], [view]
    )
    assert wanted.workers == (asked, WorkerAdd("pi-1", "hall", "pi-1"))
    assert wanted.clusters[0].policy == "spread"


def test_choice_without_orchestrator_or_worker_is_told() -> None:
    assert proposing.faults({"a": Role()}) == ["no host has a role"]
    assert proposing.faults({"a": Role("edge", worker=True)}) == [
        "cluster edge has no orchestrators, and needs one"
    ]
    assert proposing.faults({"a": Role("edge", orchestrator=True)}) == [
        "cluster edge has no worker"
    ]
    assert proposing.faults({"a": Role("edge", True, True), "b": Role("edge")}) == []


def test_file_that_is_saved_reads_back_as_what_was_planned(tmp_path: Path) -> None:
    hosts_ = (PI, JETSON, SERVER)
    wanted = proposing.wanted(hosts_, proposing.propose(hosts_, MACHINES))
    assert reading.parse(writing.of(wanted), tmp_path) == wanted


def test_draft_is_kept_for_this_user_alone_and_read_again() -> None:
    kept = Draft(Step.ROLES, "pi@x\n", ("a",), {"b": Role("edge", worker=True)}, "f.yaml", "/tmp")
    draft.save(kept)
    assert draft.load() == kept
    assert stat.S_IMODE(draft.path().stat().st_mode) == 0o600
    draft.forget()
    assert draft.load().step is Step.HOSTS
    draft.forget()


def test_draft_that_was_cut_off_or_is_of_another_time_is_a_new_beginning() -> None:
    draft.save(Draft())
    draft.path().write_text('{"step": "nonsense"')
    assert draft.load().step is Step.HOSTS


def look(text: str) -> Seen:
    fault = Fault("pi-1", f"pi-1: its key {text} is not known", "trust it", 4, (text,))
    findings = (
        HostFinding("server", "block", text, text, text),
        HostFinding("jetson", "fixable", "docker", "no Docker", "--docker"),
        HostFinding("pi-1", "block", "ssh", "the same again", ""),
    )
    return Seen(
        checks={("host", "pi-1"): HostChecked(fault=fault)},
        findings=findings,
        machines=tuple(MACHINES.values()),
        asks_password=("jetson",),
    )


@pytest.mark.parametrize("text", ["disk", *fleet.HOSTILE], ids=range(1 + len(fleet.HOSTILE)))
def test_matrix_says_who_can_be_used_and_what_to_type(text: str) -> None:
    checked = Checked.of(look(text))
    all_of = (PI, JETSON, SERVER)
    assert checked.unusable(all_of) == {"pi-1", "server"}
    assert checked.unknown_keys == ("pi-1",)
    words = [row.cells[1].text for row in checking.rows(all_of, checked, ())]
    assert words == ["✗ not usable", "▲ asks a password", "✗ not usable"]
    assert checking.rows(all_of, checked, ("server",))[2].cells[1].text == "○ left out"
    told = "\n".join(checking.details("pi-1", checked))
    assert "t shows its key" in told
    assert "the same again" not in told
    assert "--docker" in "\n".join(checking.details("jetson", checked))


def test_progress_shows_phases_of_each_host_and_keeps_a_failure_in_sight() -> None:
    found = ApplyProgress()
    one = Change("create", "cluster", "edge", "server")
    two = Change("create", "worker", "edge/pi-1", "pi-1")
    found.expect((one, two))
    assert [row.cells[1].text for row in found.rows()] == ["○ planned", "○ planned"]
    found.begun(one)
    found.step(
        one, StepEvent(0, "server", "base: archive", "running", "", 0.0, False, 1 << 20, 9 << 20)
    )
    found.step(one, StepEvent(0, "server", "bus: start", "done", "", 1.5))
    assert found.rows()[0].cells[2].text == "base …  bus ✓"
    found.ended(one, None)
    found.ended(two, OakError("no room", hint="make some", details=("1 MiB free",)))
    assert [row.cells[1].text for row in found.rows()] == ["● done", "✗ failed"]
    assert found.since(found.told - 3) == [
        "pi-1: worker edge/pi-1: no room",
        "pi-1: worker edge/pi-1: 1 MiB free",
        "pi-1: worker edge/pi-1: make some",
    ]


def test_what_was_done_can_be_typed_in_a_shell() -> None:
    made = Draft(descriptor="/srv/my app.yaml", deployed=("hello.default",))
    lines = finishing.commands(Path("/home/me/my $fleet.yaml"), made)
    typed = [shlex.split(line) for line in lines if line.startswith("oakctl ")]
    assert ["oakctl", "fleet", "apply", "-f", "/home/me/my $fleet.yaml"] in typed
    assert ["oakctl", "app", "apply", "-f", "/srv/my app.yaml"] in typed
    assert ["oakctl", "app", "delete", "hello.default"] in typed
