"""Docker's errors, for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.orchestration.worker.docker import (
    words,
)


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in words._MEANINGS])
@given(data=st.data())
def test_whatever_docker_says_is_put_into_words(pattern: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(pattern))
    assert words.in_words(text).strip()


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ('exec: "": executable file not found in $PATH: unknown',
         "cannot run an empty name: it is not in the image"),
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
