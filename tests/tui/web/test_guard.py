"""Who is let in: the token, whose page asks, by which name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.tui.web.guard import Guard, Verdict, is_loopback

TOKEN = "right"
GUARD = Guard(TOKEN, "oakctl-8040", frozenset({"localhost", "pi.example"}))
HOST = {"Host": "127.0.0.1:8040"}
COOKIE = {"oakctl-8040": TOKEN}


def judge(
    headers: dict[str, str],
    query: dict[str, str] | None = None,
    cookies: dict[str, str] | None = None,
) -> Verdict:
    return GUARD.judge(headers, query or {}, cookies or {}, scheme="http")


def test_the_token_is_kept_once_and_is_enough_from_then_on() -> None:
    assert judge(HOST) is Verdict.STRANGER
    assert judge(HOST, {"token": "wrong"}) is Verdict.STRANGER
    assert judge(HOST, {"token": TOKEN}) is Verdict.ENTER
    assert judge(HOST, cookies=COOKIE) is Verdict.WELCOME
    assert judge(HOST, cookies={"oakctl-8040": "wrong"}) is Verdict.STRANGER
    assert judge(HOST, cookies={"oakctl-9000": TOKEN}) is Verdict.STRANGER


@pytest.mark.parametrize("token", ["", "ä", "right ", "righ"])
def test_what_is_not_the_token(token: str) -> None:
    assert judge(HOST, {"token": token}, {"oakctl-8040": token}) is Verdict.STRANGER


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "https://127.0.0.1:8040",
        "http://127.0.0.1:9000",
        "http://127.0.0.1",
    ],
)
def test_another_sites_page_is_refused_also_with_the_token(origin: str) -> None:
    assert judge({**HOST, "Origin": origin}, {"token": TOKEN}, COOKIE) is Verdict.FOREIGN


def test_our_own_page_is_welcome_by_every_name_of_ours() -> None:
    for host in ("127.0.0.1:8040", "localhost:8040", "[::1]:8040", "192.0.2.7:8040", "PI.example"):
        headers = {"Host": host, "Origin": f"http://{host}", "Upgrade": "websocket"}
        assert judge(headers, cookies=COOKIE) is Verdict.WELCOME


@pytest.mark.parametrize(
    "host", ["evil.example:8040", "", "127.0.0.1.evil.example", "pi.example.evil"]
)
def test_a_name_that_is_not_ours_is_refused(host: str) -> None:
    """Somebody's name may be made to stand for 127.0.0.1 at any moment."""
    headers = {"Host": host, "Origin": f"http://{host}"}
    assert judge(headers, cookies=COOKIE) is Verdict.FOREIGN


def test_a_websocket_has_to_say_whose_page_opens_it() -> None:
    headers = {**HOST, "Upgrade": "WebSocket"}
    assert judge(headers, cookies=COOKIE) is Verdict.FOREIGN


@given(st.text(), st.text(), st.text())
def test_nobody_is_let_in_without_the_token(host: str, origin: str, token: str) -> None:
    verdict = judge({"Host": host, "Origin": origin}, {"token": token}, {"oakctl-8040": token})
    assert token == TOKEN or verdict in (Verdict.FOREIGN, Verdict.STRANGER)


def test_what_only_this_machine_hears() -> None:
    heard = [is_loopback(each) for each in ("127.0.0.1", "127.9.0.1", "::1", "localhost")]
    assert heard == [True] * 4
    assert not any(is_loopback(each) for each in ("0.0.0.0", "::", "192.0.2.1", "pi.example", ""))
