"""Steps six and seven: a first application, and what to type from now on."""

from __future__ import annotations

import asyncio
import shlex
import time
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from oakctl import sla
from oakctl.client import deploying
from oakctl.client.root import RootClient
from oakctl.errors import DeadlineExceeded, NotFound, OakError
from oakctl.model.requests import ApplyRequest
from oakctl.model.views import ServiceView
from oakctl.remote import resources
from oakctl.tui.plain import plain_lines
from oakctl.tui.screens.wizard.frame import WizardScreen
from oakctl.tui.viewmodels import status
from oakctl.tui.wizard import draft
from oakctl.tui.wizard.draft import Draft, Step

READY_S = 180.0  # for a first application to be ready; after it the step says what it waits for
LOOK_S = 0.5


class ApplicationStep(WizardScreen):
    """An example, or a file."""

    step: ClassVar[Step] = Step.APPLICATION
    question: ClassVar[str] = (
        "Which application first? This one is an example, a small web server; or name a descriptor."
    )
    next_word: ClassVar[str] = "Run it"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "skip", "None now", priority=True)]

    def compose_step(self) -> ComposeResult:
        """A file name."""
        example = str(resources.data("examples") / "hello.yaml")
        yield Input(self.wizard.draft.descriptor or example, id="descriptor")
        yield Static(id="told", classes="body text")

    def action_skip(self) -> None:
        """No application now."""
        self.move(self.go(Step.DONE))

    def on_input_submitted(self) -> None:
        """Enter runs it."""
        self.action_next()

    async def decided(self) -> None:
        """Apply the descriptor, and wait until all of it is ready."""
        file = Path(self.query_one("#descriptor", Input).value).expanduser()
        self.wizard.keep(descriptor=str(file))
        try:
            text = await asyncio.to_thread(file.read_text, encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", "") or "it is not UTF-8 text"
            raise NotFound(f"{file} cannot be read: {reason}") from error
        checked = sla.parse(text)
        self._show([str(finding) for finding in checked.findings])
        checked.require(str(file))
        async with self.wizard.connect() as root:
            self.tell("packing and sending it …")
            artifacts = await deploying.uploaded(root, checked, file.resolve().parent, self.tell)
            result = await root.apply(ApplyRequest(text, artifacts))
            self.wizard.keep(deployed=result.applications)
            await self._until_ready(root, result.applications)
        await self.go(Step.DONE)

    async def _until_ready(self, root: RootClient, applications: tuple[str, ...]) -> None:
        deadline = time.monotonic() + READY_S
        while True:
            views = [await root.application(name) for name in applications]
            services = [service for view in views for service in view.services]
            self._show([_line(service) for service in services])
            waiting = [service for service in services if service.state != "ready"]
            if not waiting:
                return
            if time.monotonic() >= deadline:
                raise DeadlineExceeded(
                    f"{waiting[0].name} is not ready after {READY_S:.0f} s: {waiting[0].reason}",
                    hint="it goes on; Next asks again, ^s goes on without",
                )
            self.tell(f"waiting for {', '.join(service.name for service in waiting)} …")
            await asyncio.sleep(LOOK_S)

    def _show(self, lines: list[str]) -> None:
        if self.query("#told"):
            self.query_one("#told", Static).update(plain_lines(lines))


def _line(view: ServiceView) -> str:
    return f"{status.of_service(view)}  {view.name}  {view.ready}/{view.wanted}  {view.reason}"


class DoneStep(WizardScreen):
    """What was done, as commands."""

    step: ClassVar[Step] = Step.DONE
    question: ClassVar[str] = "It is done. The same from a shell, to be run again at any time:"
    next_word: ClassVar[str] = "To the fleet"

    def compose_step(self) -> ComposeResult:
        """Commands."""
        lines = commands(self.wizard.file, self.wizard.draft)
        yield Static(plain_lines(lines), classes="body text")

    async def decided(self) -> None:
        """The wizard is through; the next one begins anew."""
        try:
            draft.forget()
        except OSError as error:
            raise OakError(f"{draft.path()} cannot be removed: {error.strerror}") from error
        await self._leave()


def commands(file: Path, made: Draft) -> list[str]:
    """What was done with the fleet file and the draft, for a shell."""
    fleet, descriptor = shlex.quote(str(file)), shlex.quote(made.descriptor)
    lines = [f"oakctl fleet plan -f {fleet}", f"oakctl fleet apply -f {fleet}"]
    if made.deployed:
        lines.append(f"oakctl app apply -f {descriptor}")
    lines += ["", "and to see it, or to take it all away:", "oakctl"]
    lines += [f"oakctl app delete {name}" for name in made.deployed]
    lines.append(f"oakctl fleet destroy -f {fleet}")
    return lines
