"""Finding and loading playbooks: ours, the user's own, and broken ones."""

from __future__ import annotations

import pytest

from oakctl import paths
from oakctl.errors import NotFound, OakError
from oakctl.remote import playbook


def write(name: str, text: str) -> None:
    folder = paths.config_directory() / "playbooks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(text)


@pytest.mark.parametrize("name", ["base", "bus", "cluster", "worker", "uninstall"])
def test_ours_load_and_say_what_they_do(name: str) -> None:
    module = playbook.load(name)
    assert callable(module.steps)
    assert module.__doc__


def test_the_users_own_comes_first() -> None:
    write("worker", "def steps(inputs):\n    return ['mine']\n")
    assert playbook.load("worker").steps(None) == ["mine"]


def test_one_that_is_not_there() -> None:
    with pytest.raises(NotFound, match="no playbook coffee") as missing:
        playbook.load("coffee")
    assert missing.value.hint == "oakctl playbook ls"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def steps(:\n", "SyntaxError"),
        ("import no_such_module\n", "ModuleNotFoundError"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("STEPS = []\n", "no function `steps`"),
    ],
)
def test_a_broken_one_is_named(text: str, words: str) -> None:
    write("mine", text)
    with pytest.raises(OakError, match=words) as broken:
        playbook.load("mine")
    assert str(paths.config_directory() / "playbooks" / "mine.py") in broken.value.hint
