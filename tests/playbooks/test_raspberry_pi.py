"""The memory control group of a Raspberry Pi, with the restart that a run waits for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oakctl.errors import OakError
from oakctl.remote import changes, reboot
from tests.lab.requirements import MARKS
from tests.playbooks import real_host
from tests.playbooks.real_host import COMMAND_LINE, RealHost, steps

pytestmark = [*MARKS]

FILE = "/boot/firmware/cmdline.txt"
EDIT = "raspberry_pi: memory control group, from the next boot on"
RESTART = "raspberry_pi: restart into it"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHost]:
    with real_host.real_host("dvpi", tmp_path_factory.mktemp("pi")) as made:
        real_host.make_it_a_pi(made)
        yield made


@pytest.fixture(autouse=True)
def own_directories(host: RealHost) -> None:
    """In place of directories for each test: the host is one for all of them."""


def boot_id(host: RealHost) -> str:
    return host.shell(reboot.BOOT_ID)


def test_without_consent_nothing_restarts(host: RealHost) -> None:
    before = boot_id(host)
    looked = host.look(steps("raspberry_pi"))
    assert looked[EDIT] == "the memory control group is off"
    assert "restart" in looked[RESTART]

    told = host.run(steps("raspberry_pi"))
    assert told[EDIT].startswith("done")
    assert told[RESTART].startswith("skipped")
    assert "--allow-reboot" in told[RESTART]
    assert boot_id(host) == before
    text = host.shell(f"cat {FILE}; echo; cat {FILE}.before-oakctl")
    assert text.count("cgroup_enable=memory cgroup_memory=1") == 1
    assert COMMAND_LINE.strip() in text


def test_the_run_waits_for_the_restart_and_holds_the_host_again(host: RealHost) -> None:
    before = boot_id(host)
    with host.held() as remote:
        assert not remote.facts.control.memory
    told = host.run(steps("raspberry_pi"), allow_reboot=True)
    assert told[RESTART].startswith("done")
    assert boot_id(host) != before
    with host.held() as remote:
        assert remote.facts.control.memory
        remote.reboot()
        # The lock went with the host, and was taken again.
        with pytest.raises(OakError, match="another run works"), host.held():
            pass
        assert remote.run("cat /proc/uptime").exit_code == 0
    assert {said.partition(":")[0] for said in host.run(steps("raspberry_pi")).values()} == {
        "skipped"
    }


def test_a_removal_puts_the_command_line_back(host: RealHost) -> None:
    host.run(steps("raspberry_pi"))
    with host.held() as remote:
        assert changes.read(remote)["raspberry_pi"]["added"] == [
            "cgroup_enable=memory",
            "cgroup_memory=1",
        ]
    told = host.run(steps("uninstall"))
    assert "counts from the next boot on" in told["uninstall: the host as it was"]
    assert host.shell(f"cat {FILE}") + "\n" == COMMAND_LINE
    assert host.shell("ls -A /boot/firmware /opt") == "/boot/firmware:\ncmdline.txt\n\n/opt:"


def test_old_firmware_is_said_and_nothing_loops(host: RealHost) -> None:
    host.shell(
        f"sed -i 's/$/ cgroup_enable=memory/' {FILE}; pi-firmware; echo cpu >/run/controllers"
    )
    with pytest.raises(OakError, match="its firmware is old") as refused:
        host.run(steps("raspberry_pi"), allow_reboot=True)
    assert "rpi-eeprom-update" in refused.value.hint
