"""Endpoints of tunnels, as operators write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model import tunnel_endpoint


def test_what_is_not_said_is_left_open() -> None:
    assert tunnel_endpoint.read("203.0.113.5:4000") == ("203.0.113.5", 4000)
    assert tunnel_endpoint.read("203.0.113.5") == ("203.0.113.5", 51820)
    assert tunnel_endpoint.read(":51821") == ("", 51821)
    assert tunnel_endpoint.read("") == ("", 51820)


@pytest.mark.parametrize(
    "text", ["gate.example.org:1", "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536", ":x", "[fd00::1]:1"]
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not ADDRESS"):
        tunnel_endpoint.read(text)


@given(st.ip_addresses(v=4), st.integers(1, 65535))
def test_every_endpoint_is_read_back(address: object, port: int) -> None:
    assert tunnel_endpoint.read(f"{address}:{port}") == (str(address), port)
