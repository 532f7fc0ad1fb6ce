"""The descriptor editor: faults as they are typed, where it would go, and running it."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from oakctl.errors import NotFound, OakError, Unreachable, UsageError
from oakctl.model.messages import Verdict
from oakctl.model.requests import ApplyRequest
from oakctl.model.views import ApplyResult, Decision, Preview, ServicePreview
from oakctl.tui import editing
from oakctl.tui.actions import View
from oakctl.tui.app import FleetApp
from oakctl.tui.screens.confirm import ConfirmScreen
from oakctl.tui.screens.editor import EditorScreen
from oakctl.tui.viewmodels import preview

from . import fleet
from .driving import SIZE, ready, texts, until

HOSTILE = "[/red] \x1b[31m\u202e"


class Answering:
    """A root that says where everything would go, and takes what it is given."""

    def __init__(self) -> None:
        self.applied: list[str] = []
        self.fault: OakError | None = None

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Answering]:
        yield self

    async def preview(self, request: ApplyRequest) -> Preview:
        if self.fault is not None:
            raise self.fault
        verdict = Verdict("w2", True, 0.5, (f"much is free {HOSTILE}",))
        decisions = (Decision(0.0, "", "edge", "edge/w2", (verdict,)),)
        return Preview((ServicePreview("hello.web", True, 2, "edge", "w2", decisions),))

    async def apply(self, request: ApplyRequest) -> ApplyResult:
        self.applied.append(request.descriptor)
        return ApplyResult(("hello.default",), ("hello.default",))

    async def upload_artifact(self, path: Path) -> str:
        assert path.is_file()
        return "0" * 64


@asynccontextmanager
async def editor(root: Answering, file: Path) -> AsyncIterator[tuple[Pilot[None], FleetApp]]:
    app = FleetApp(fleet.friendly().connect, setup=root.connect)  # type: ignore[arg-type]
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await ready(pilot, app)
        await app.go_to(View.SERVICES)
        await pilot.press("e")
        await until(pilot, lambda: bool(app.screen.query("#answer")))
        app.screen.query_one("#answer", Input).value = str(file)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, EditorScreen))
        yield pilot, app


async def test_from_the_example_to_a_running_application(tmp_path: Path) -> None:
    root, file = Answering(), tmp_path / "new.yaml"
    async with editor(root, file) as (pilot, app):
        await until(pilot, lambda: "hello.web would go to edge/w2" in texts(app))
        assert "not saved" in texts(app)
        assert "\x1b[31m" not in texts(app)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert root.applied == []
        await pilot.press("y")
        await until(pilot, lambda: len(root.applied) == 1)
        assert root.applied == [file.read_text()]
        await until(pilot, lambda: "not saved" not in texts(app))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, EditorScreen))


async def test_faults_are_told_as_they_are_typed(tmp_path: Path) -> None:
    root, file = Answering(), tmp_path / "app.yaml"
    file.write_text(editing.opened(str(tmp_path / "none.yaml")).text)
    async with editor(root, file) as (pilot, app):
        await until(pilot, lambda: "would go to" in texts(app))
        area = app.screen.query_one("#text", TextArea)
        area.text = area.text.replace("memory: 32", "memory: -7")
        await until(pilot, lambda: "Faults" in texts(app) and "is not" in texts(app))
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "it has faults" in texts(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, EditorScreen))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "memory: -7" in file.read_text())
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, EditorScreen))
    assert root.applied == []


async def test_a_root_that_does_not_answer_is_told(tmp_path: Path) -> None:
    root = Answering()
    root.fault = Unreachable("the root does not answer", hint="oakctl status")
    async with editor(root, tmp_path / "app.yaml") as (pilot, app):
        await until(pilot, lambda: "the root does not answer" in texts(app))
        await pilot.press("escape")  # the example alone is no loss
        await until(pilot, lambda: not isinstance(app.screen, EditorScreen))


def test_files_that_cannot_be_descriptors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        editing.opened(" ")
    with pytest.raises(NotFound, match="no directory"):
        editing.opened(str(tmp_path / "none" / "app.yaml"))
    (tmp_path / "large").write_bytes(bytes(editing.LARGEST + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, why in (("large", "more than"), ("binary", "UTF-8"), (".", "cannot be read")):
        with pytest.raises(OakError, match=why):
            editing.opened(str(tmp_path / name))


def test_a_file_is_written_whole_with_its_own_mode(tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    file.write_text("before")
    file.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    saved = editing.save(editing.Draft(link, "after", "before"))
    assert (saved.is_saved, file.read_text(), link.is_symlink()) == (True, "after", True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert sorted(each.name for each in tmp_path.iterdir()) == ["app.yaml", "link.yaml"]


def test_where_it_would_go_in_words() -> None:
    verdicts = (Verdict("edge", False, 0.0, ("no worker has a GPU",)),)
    decisions = (Decision(0.0, "", "root", "pending", verdicts),)
    told = preview.lines(Preview((ServicePreview("a.b", False, 1, decisions=decisions),)))
    assert list(told) == [
        "a.b (is there already) would go nowhere now and wait",
        "  edge: no: no worker has a GPU",
    ]
    assert preview.heading(ServicePreview("a.b", True, 0)) == "a.b: no instance is wanted"
