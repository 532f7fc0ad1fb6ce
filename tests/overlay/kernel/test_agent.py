"""An agent whose overlay is the kernel's: instances in namespaces, without a bus to help."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oakctl.lab.namespaces.lab import NamespaceLab
from oakctl.model.service import RestartPolicy

from .agents import FIRST, PYTHON, SECOND, agent_on, answers, instance, until
from .nodes import PORT, RR, target

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="instances become users of their own"),
    pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"no {PYTHON}"),
]


def test_instances_have_networks_of_their_own_and_outlive_the_agent(
    lab: NamespaceLab,
) -> None:
    with agent_on(lab) as agent:
        # Two listen on one port, each on the address it is told, and answer by that name.
        agent.has_program(f'exec {PYTHON} -S "${{0%/*}}/programs.py" serve "$OAKCTL_BIND" {PORT}\n')
        agent.told(instance(FIRST, 0), instance(SECOND, 1))
        before = lab.run("a", ("nft", "list", "ruleset")), lab.run("a", ("ip", "-o", "-4", "addr"))
        agent.start()
        until(lab, {FIRST, SECOND})
        assert answers(lab, "b", lab.address("a"), 1, 8080) == {FIRST}
        agent.kill()
        assert answers(lab, "a", RR, 20) == {FIRST, SECOND}
        agent.told(instance(FIRST, 0))
        agent.start()
        until(lab, {FIRST})
        while SECOND in lab.run("a", ("ip", "netns")):
            pass
        assert f"oak-{FIRST}" in lab.run("a", ("ip", "netns"))
        agent.kill()
        agent.clear()
        after = lab.run("a", ("nft", "list", "ruleset")), lab.run("a", ("ip", "-o", "-4", "addr"))
        assert after == before


def test_a_node_that_does_not_answer_is_found_by_the_agent_itself(lab: NamespaceLab) -> None:
    with agent_on(lab) as agent:
        agent.has_program(f'exec {PYTHON} -S "${{0%/*}}/programs.py" serve "$OAKCTL_BIND" {PORT}\n')
        agent.told(instance(FIRST, 0), elsewhere=(target("b", "10.18.0.130"),))
        agent.start()
        until(lab, {FIRST})
        led = lab.run("a", ("nft", "list", "map", "ip", "oakctl", "one"))
        assert f"{RR} : {FIRST}" in led  # the other one is out of the maps


def test_an_instance_that_ended_is_left_out_by_the_agent_itself(lab: NamespaceLab) -> None:
    with agent_on(lab) as agent:
        agent.has_program(f'exec {PYTHON} -S "${{0%/*}}/programs.py" serve "$OAKCTL_BIND" {PORT}\n')
        slow = RestartPolicy(backoff_s=600.0, backoff_max_s=600.0)
        agent.told(instance(FIRST, 0, restart=slow), instance(SECOND, 1, restart=slow))
        agent.start()
        until(lab, {FIRST, SECOND})
        (number,) = lab.run("a", ("pgrep", "-f", f"programs.py serve {FIRST} ")).split()
        lab.run("a", ("kill", "-9", number))
        until(lab, {SECOND})  # nobody told this node another table
        (number,) = lab.run("a", ("pgrep", "-f", f"programs.py serve {SECOND} ")).split()
        lab.run("a", ("kill", "-9", number))
        # There is none, and one is to be: nobody is refused.
        until(lab, {"TimeoutError"}, times=1)


def test_a_clock_that_is_set_stops_nothing(lab: NamespaceLab) -> None:
    with agent_on(lab) as agent:
        agent.has_program(f'exec {PYTHON} -S "${{0%/*}}/programs.py" serve "$OAKCTL_BIND" {PORT}\n')
        slow = RestartPolicy(backoff_s=3600.0, backoff_max_s=3600.0)
        agent.told(instance(FIRST, 0, restart=slow), instance(SECOND, 1))
        agent.set_clock(0.0)
        agent.start()
        until(lab, {FIRST, SECOND})
        for day in (1.0, -1.0):
            agent.set_clock(day * 86400)
            assert answers(lab, "a", RR, 20) == {FIRST, SECOND}
            (number,) = lab.run("a", ("pgrep", "-f", f"programs.py serve {FIRST} ")).split()
            lab.run("a", ("kill", "-9", number))
            until(lab, {SECOND})
            # Its wait is over by the new time; or nobody knows how long it was.
            agent.set_clock(day * 2 * 86400)
            until(lab, {FIRST, SECOND})


def test_of_instances_that_have_ended_nothing_stays_when_the_overlay_goes(
    lab: NamespaceLab,
) -> None:
    def seen() -> list[str]:
        looks = ("nft list ruleset", "ip -o -4 addr", "ip -brief link", "ip netns", "ip route")
        return [lab.run("a", tuple(look.split())) for look in looks]

    before = seen()
    with agent_on(lab) as agent:
        agent.has_program(f'exec {PYTHON} -S "${{0%/*}}/programs.py" serve "$OAKCTL_BIND" {PORT}\n')
        slow = RestartPolicy(backoff_s=600.0, backoff_max_s=600.0)
        agent.told(instance(FIRST, 0, restart=slow), instance(SECOND, 1, restart=slow))
        agent.start()
        until(lab, {FIRST, SECOND})
        (number,) = lab.run("a", ("pgrep", "-f", f"programs.py serve {FIRST} ")).split()
        lab.run("a", ("kill", "-9", number))
        until(lab, {SECOND})
        agent.kill()
        # The second one ends while nobody looks.
        (number,) = lab.run("a", ("pgrep", "-f", f"programs.py serve {SECOND} ")).split()
        lab.run("a", ("kill", "-9", number))
        assert {f"oak-{FIRST}", f"oak-{SECOND}"} <= set(lab.run("a", ("ip", "netns")).split())
        agent.clear()
        assert seen() == before
