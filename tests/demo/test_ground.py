"""What the demonstration stands on."""

from __future__ import annotations

from oakctl.demo.ground import LOOPBACK, NAMESPACES, NETWORK_PIECES, Ground
from oakctl.remote import resources


def test_pieces_of_a_picture_fit_into_what_a_network_carries() -> None:
    file = resources.data("examples") / "ar" / "ar.yaml"
    text = file.read_text(encoding="utf-8")
    assert Ground(LOOPBACK).descriptor(text) == text
    changed = Ground(NAMESPACES).descriptor(text)
    assert "=32000" not in changed
    assert changed.count(NETWORK_PIECES) == 2
