from __future__ import annotations

import pytest

from oakctl.cli import again


@pytest.mark.parametrize(
    ("given", "more", "command"),
    [
        (
            ("fleet", "apply", "-f", "a b.yaml"),
            ("--yes",),
            "oakctl fleet apply -f 'a b.yaml' --yes",
        ),
        (("fleet", "apply", "-y", "--prune"), ("--yes",), "oakctl fleet apply -y --prune"),
        (("fleet", "apply", "--prune"), (), "oakctl fleet apply --prune"),
        (
            ("host", "run", "pi", "--", "rm", "--yes"),
            ("--accept-new",),
            "oakctl host run pi --accept-new -- rm --yes",
        ),
    ],
)
def test_a_command_is_suggested_as_it_was_typed(
    given: tuple[str, ...], more: tuple[str, ...], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "_words", None)
    again.remember(given)
    assert again.typed(*more) == command
