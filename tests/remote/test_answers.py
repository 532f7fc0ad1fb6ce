"""What a host says is bounded, harmless, and never part of a command in another form."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.remote import answers, facts, fleet_check
from oakctl.remote.equipment import Install
from oakctl.remote.questions import SCRIPT
from tests.remote.field.reported import NONCE, read

KEYS = sorted({*re.findall(r"\bsay (?:\"\$1(_\w+)\"|([a-z_0-9]+))", SCRIPT)}, key=str)
ASKED = [
    *(name for _, name in KEYS if name),
    *(f"{place}{name}" for name, _ in KEYS if name for place in ("disk", "opt", "home", "images")),
    "python",
    "listen",
    "host_key",
    "env.OAKCTL_LAB",
]
HOSTILE = st.one_of(
    st.text(max_size=200),
    st.sampled_from(
        [
            "\x1b[2J\x1b]0;title\x07",
            "x'; rm -rf ~; '",
            "$(reboot)",
            "`reboot`",
            "[bold red]x[/]",
            "\u202egnp.exe",
            "9" * 400,
            "-P FORWARD \x1b[31mDROP",
            "/boot/firmware/cmdline.txt;reboot\t1\tx",
            '{"roles": [[[' + "[" * 50_000,
            '{"cluster": "a; reboot", "worker": "\\u001b"}',
        ]
    ),
)


def facts_of(values: list[tuple[str, str]]) -> facts.HostFacts:
    body = "".join(f"{key}={value}\n" for key, value in values)
    return facts.parse(f"\nbegin {NONCE}\n{body}\nend {NONCE}\n", NONCE)


def texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.items() for text in texts(item)]
    if isinstance(value, list | tuple):
        return [text for each in value for text in texts(each)]
    return []


def test_the_script_asks_what_is_tried_here() -> None:
    assert {"hostname", "user", "sudo_refusal", "opt_kb", "home_manifest"} <= set(ASKED)


@given(st.lists(st.tuples(st.sampled_from(ASKED), HOSTILE), max_size=60))
def test_nothing_that_a_terminal_acts_on_comes_through(values: list[tuple[str, str]]) -> None:
    told = facts_of(values)
    for text in texts(asdict(told)):
        assert text.replace("\t", "").isprintable()
    for finding in fleet_check.check({"pi-1": told, "pi-2": told}):
        assert (finding.message + finding.remedy).replace("\t", "").isprintable()


@given(st.lists(st.tuples(st.sampled_from(ASKED), HOSTILE), max_size=60))
def test_what_is_to_be_typed_has_no_words_of_the_host(values: list[tuple[str, str]]) -> None:
    for finding in fleet_check.check({"pi-1": facts_of(values), "pi-2": facts_of(values)}):
        assert "reboot;" not in finding.remedy
        assert "rm -rf ~;" not in finding.remedy
        for part in ("$(reboot)", "`reboot`", "a; reboot", "cmdline.txt;reboot"):
            assert part not in finding.remedy
        shlex.split(finding.remedy.replace("...", "").replace("it's", "").replace("'s", ""))


@given(st.text(max_size=100))
def test_harmless_keeps_what_is_shown(text: str) -> None:
    shown = answers.harmless(text)
    assert shown.replace("\t", "").isprintable()
    if text.isprintable():
        assert shown == text


def test_an_answer_without_end_is_cut() -> None:
    long = "x" * 100_000
    assert len(read(hostname=long).hostname) == answers.MOST_VALUE
    many = "\n".join(f"firewall=ufw{n}" for n in range(100_000))
    text = f"\nbegin {NONCE}\nuser=pi\n{many}\n\nend {NONCE}\n"
    with pytest.raises(Exception, match="cut off"):
        facts.parse(text, NONCE)
    some = "\n".join("firewall=ufw" for _ in range(5000))
    told = facts.parse(f"\nbegin {NONCE}\n{some}\n\nend {NONCE}\n", NONCE)
    assert len(told.network.firewalls) == answers.MOST_LINES


def test_a_line_break_that_only_some_know_makes_no_line() -> None:
    told = read(hostname="a\u2028uid=0\x85uid=0\x0buid=0")
    assert told.uid == -1


@pytest.mark.parametrize("user", ["pi", "a.b-c", "DOMAIN_user", "me@example.org", "pc$"])
def test_names_of_users(user: str) -> None:
    assert read(user=user).user == user


@pytest.mark.parametrize("user", ["-rf", "a b", "a;b", "$(x)", "", "a" * 80, "a\nb"])
def test_what_is_no_name_of_a_user(user: str) -> None:
    assert answers.word(user) == ""


def test_addresses_by_which_others_reach_a_host() -> None:
    told = read(
        addresses="eth0/10.0.0.5/24 docker0/172.17.0.1/16 br-1f/172.18.0.1/16 wlan0/fd00::5/64 "
        "eth0/10.0.0.5/24 veth1/10.1.1.1/24 x/nonsense",
        reached="10.0.0.5",
    )
    assert told.addresses == ("10.0.0.5", "fd00::5")
    assert told.reached_address == "10.0.0.5"
    assert read(reached="$(x)").reached_address == ""
    assert read(reached="fe80::1%eth0").reached_address == "fe80::1"


def test_what_is_there_of_ours() -> None:
    told = read(
        opt_install="/opt/oakctl",
        opt_readable="yes",
        opt_manifest=json.dumps({"roles": {"worker": {"units": []}, "cluster": {}}}, indent=1)
        .replace("\n", " "),
        opt_cluster='{"cluster":"edge","prefix":"/opt/oakctl"}',
        opt_worker='{"cluster":"edge","worker":"w1"}',
        opt_holder="anna on laptop, process 7",
        opt_release='{"version": "abc"}',
        home_install="/home/pi/.oakctl",
    )  # fmt: skip
    assert told.installs == (
        Install(
            "/opt/oakctl",
            True,
            ("orchestrator of edge", "worker edge/w1"),
            ("cluster", "worker"),
            True,
            "anna on laptop, process 7",
        ),
        Install("/home/pi/.oakctl", readable=False),
    )
    assert told.installs[0].is_whole
    assert not told.installs[1].is_whole
