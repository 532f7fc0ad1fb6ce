"""Completion as the shell's script asks for it."""

import pytest

from .conftest import Oakctl


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("oakctl wor", ["worker"]),
        ("oakctl worker add --clu", ["--cluster"]),
        ("oakctl app val", ["validate"]),
    ],
)
def test_words_are_completed(
    oakctl: Oakctl, monkeypatch: pytest.MonkeyPatch, typed: str, expected: list[str]
) -> None:
    monkeypatch.setenv("_OAKCTL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    assert oakctl().out.split() == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_asks_in_the_same_way(oakctl: Oakctl, shell: str) -> None:
    written = oakctl("completion", shell)
    assert written.code == 0
    assert f"_OAKCTL_COMPLETE=complete_{shell}" in written.out


def test_other_shells_are_refused(oakctl: Oakctl) -> None:
    assert oakctl("completion", "tcsh").code == 2
