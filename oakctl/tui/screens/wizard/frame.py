"""What each step of the wizard has: the way so far, one question, Back and Next.

Belongs here: the frame, and the wizard's memory while it runs. Does not belong here: a step.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import Screen
from textual.widgets import Button, Footer, Static

from oakctl.client.root import RootClient
from oakctl.errors import OakError
from oakctl.fleet.plan import Plan
from oakctl.model.views import ClusterView, HostView, WorkerView
from oakctl.tui.plain import plain, plain_lines
from oakctl.tui.viewmodels import words
from oakctl.tui.wizard import draft, hosts, proposing
from oakctl.tui.wizard.checking import Checked
from oakctl.tui.wizard.draft import STEPS, Draft, Step
from oakctl.tui.wizard.progress import ApplyProgress

Connect = Callable[[], AbstractAsyncContextManager[RootClient]]


class Wizard:
    """The draft, and what was learnt that is not worth keeping."""

    def __init__(self, connect: Connect, kept: Draft) -> None:
        self.connect = connect
        self.draft = kept
        self.known: tuple[HostView, ...] = ()
        self.clusters: tuple[ClusterView, ...] = ()
        self.workers: tuple[WorkerView, ...] = ()
        self.trusted: set[str] = set()  # hosts whose new key was shown and agreed to
        self.checked: Checked | None = None
        self.plan: Plan | None = None
        self.progress = ApplyProgress()
        self.screens: dict[Step, type[WizardScreen]] = {}
        self.left: Callable[[], Awaitable[None]] | None = None

    @property
    def typed(self) -> hosts.Typed:
        """The hosts of the draft."""
        return hosts.read(self.draft.hosts, self.known)

    @property
    def used(self) -> tuple[HostView, ...]:
        """Those that were not left out."""
        out = self.draft.left_out
        return tuple(host for host in self.typed.hosts if host.name not in out)

    @property
    def file(self) -> Path:
        """Where the fleet file goes."""
        return Path(self.draft.folder or ".") / Path(self.draft.file).expanduser()

    def keep(self, **changes: Any) -> None:
        """Change the draft, and keep it."""
        self.draft = replace(self.draft, **changes)
        draft.save(self.draft)

    async def learn(self, root: RootClient) -> None:
        """What the root knows already."""
        self.known = tuple(await root.hosts())
        self.clusters = tuple(await root.clusters())
        self.workers = tuple(await root.workers())
        if not self.draft.hosts and self.known:
            self.draft = replace(self.draft, hosts=hosts.lines(self.known))

    def propose(self) -> None:
        """Roles for the hosts that have none yet in the draft."""
        found = self.checked or Checked()
        names = {host.name for host in self.used}
        roles = {name: role for name, role in self.draft.roles.items() if name in names}
        if names - roles.keys():
            unusable = found.unusable(self.used)
            roles = proposing.propose(self.used, found.machines, unusable)
        self.keep(roles=roles)


class WizardScreen(Screen[None]):
    """One step; `question` is its one decision."""

    DEFAULT_CSS = """
    WizardScreen #way { height: 1; background: $panel; padding: 0 1; }
    WizardScreen #question { height: auto; max-height: 4; padding: 1 1 0 1; }
    WizardScreen .body { height: 1fr; min-height: 3; border: round $primary-darken-2; }
    WizardScreen .body:focus { border: round $accent; }
    WizardScreen .text { height: auto; max-height: 10; padding: 0 1; }
    WizardScreen #status { height: auto; max-height: 4; padding: 0 1; }
    WizardScreen #buttons { height: 3; align-horizontal: right; }
    WizardScreen Button { margin-left: 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n", "next", "Next", priority=True),
        Binding("ctrl+b", "back", "Back", priority=True),
        Binding("escape", "leave", "Leave, and go on later"),
    ]
    step: ClassVar[Step]
    question: ClassVar[str]
    next_word: ClassVar[str] = "Next"

    def __init__(self, wizard: Wizard) -> None:
        super().__init__()
        self.wizard = wizard

    def compose(self) -> ComposeResult:
        """The way so far, the question, the step, the buttons."""
        number = STEPS.index(self.step)
        way = "  ".join(
            f"[{each.value}]" if each is self.step else each.value + (" ✓" if n < number else "")
            for n, each in enumerate(STEPS)
        )
        yield Static(plain(f"oakctl init   {way}"), id="way")
        yield Static(plain(self.question), id="question")
        yield from self.compose_step()
        yield Static(id="status")
        with Horizontal(id="buttons"):
            if number:
                yield Button(plain("Back (^b)"), id="back")
            yield Button(plain(f"{self.next_word} (^n)"), id="next", variant="primary")
        yield Footer(show_command_palette=False)

    def compose_step(self) -> ComposeResult:
        """Between question and buttons."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Enter goes on with what is proposed."""
        self.query_one("#next", Button).focus()
        self.begin_step()

    def begin_step(self) -> None:
        """What the step does first. (`on_mount` of a class runs before that of its base.)"""

    # --- what steps use ---

    def tell(self, *lines: str) -> None:
        """Say something above the buttons."""
        if self.is_attached and self.query("#status"):
            self.query_one("#status", Static).update(plain_lines(list(lines)))

    def begin(self, work: Awaitable[None], group: str = "work") -> None:
        """Do `work` beside the screen; what fails is told."""
        self.run_worker(self._told(work), group=group, exclusive=True, exit_on_error=False)

    def move(self, work: Awaitable[None]) -> None:
        """As `begin`, for work that ends this screen, and its own workers with it."""
        self.app.run_worker(
            self._told(work), group="wizard-move", exclusive=True, exit_on_error=False
        )

    async def _told(self, work: Awaitable[None]) -> None:
        try:
            await work
        except OakError as error:
            self.tell(f"✗ {error.message}", *error.details, *([error.hint] if error.hint else []))
        except Exception as error:  # noqa: BLE001  # a fault of ours must not look like waiting
            self.tell(f"✗ oakctl is at fault: {type(error).__name__}: {words.clean(str(error))}")

    async def go(self, step: Step) -> None:
        """To another step, which is kept."""
        self.wizard.keep(step=step)
        await self.app.switch_screen(self.wizard.screens[step](self.wizard))

    # --- keys and buttons ---

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button is a key."""
        if event.button.id == "back":
            self.action_back()
        elif event.button.id == "next":
            self.action_next()

    def action_back(self) -> None:
        """To the step before."""
        number = STEPS.index(self.step)
        if number:
            self.move(self.go(STEPS[number - 1]))

    def action_next(self) -> None:
        """Go on, when the step is decided."""
        self.move(self.decided())

    async def decided(self) -> None:
        """What Next does."""
        await self.go(STEPS[STEPS.index(self.step) + 1])

    def action_leave(self) -> None:
        """The draft stays."""
        self.move(self._leave())

    async def _leave(self) -> None:
        if self.wizard.left is not None:
            await self.wizard.left()


async def open_wizard(
    app: App[None], connect: Connect, left: Callable[[], Awaitable[None]]
) -> None:
    """Show the wizard where it was left; `left` is awaited when it is."""
    from oakctl.tui.screens.wizard import applying, choosing, finishing, gathering

    wizard = Wizard(connect, draft.load())
    wizard.left = left
    steps: tuple[type[WizardScreen], ...] = (
        gathering.HostsStep,
        gathering.CheckStep,
        choosing.RolesStep,
        choosing.PlanStep,
        applying.ApplyStep,
        finishing.ApplicationStep,
        finishing.DoneStep,
    )
    wizard.screens = {each.step: each for each in steps}
    await app.push_screen(wizard.screens[wizard.draft.step](wizard))
