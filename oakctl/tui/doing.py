"""Doing what an action of the table says.

Belongs here: one function per action, each change of the fleet behind a question that names the
target and what follows. Does not belong here: the words of the question (`viewmodels.changes`),
keys and typed words (`actions`, `screens.view`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from oakctl.errors import NotFound, OakError, UsageError
from oakctl.model.views import InstanceView, ServiceView, WorkerView
from oakctl.tui import editing
from oakctl.tui.actions import BY_NAME, TABS, Action
from oakctl.tui.root_reader import Root
from oakctl.tui.screens.ask import AskScreen
from oakctl.tui.screens.confirm import ConfirmScreen
from oakctl.tui.screens.help import HelpScreen
from oakctl.tui.screens.instance import InstanceScreen
from oakctl.tui.screens.lists import EventsScreen
from oakctl.tui.screens.overlay import OverlayScreen
from oakctl.tui.screens.text import TextScreen
from oakctl.tui.viewmodels import changes, explanation, overlay, words
from oakctl.tui.viewmodels.changes import Question
from oakctl.tui.viewmodels.snapshot import Snapshot

if TYPE_CHECKING:
    from oakctl.tui.app import OakApp
    from oakctl.tui.screens.view import FleetView

T = TypeVar("T")


class Doing:
    """The actions, asked for on `view`; `target` and `argument` as typed, or empty."""

    def __init__(self, app: OakApp, view: FleetView, target: str, argument: str) -> None:
        self._app = app
        self._view = view
        self._target = target
        self._argument = argument

    async def run(self, action: Action) -> None:
        """Do it; raises OakError, also where it changes the fleet and that is not allowed."""
        if action.changes and self._app.read_only:
            raise UsageError("this is read-only")
        for tab in TABS:
            if action.name == tab.value.lower():
                await self._app.go_to(tab)
                return
        await getattr(self, action.name)()

    # --- what the line is about ---

    @property
    def _snapshot(self) -> Snapshot:
        return self._app.feed.snapshot

    def _service(self) -> ServiceView:
        kind, name = ("service", self._target) if self._target else self._view.selected()
        if kind == "instance":
            name = name.rpartition(".instance.")[0]
        found = [v for v in self._snapshot.services if name in (v.job_name, v.name)]
        return _only(found, "service", name)

    def _worker(self) -> WorkerView:
        name = self._target or self._named("worker")
        found = [v for v in self._snapshot.workers if name in (f"{v.cluster}/{v.name}", v.name)]
        return _only(found, "worker", name)

    def _instance(self) -> InstanceView:
        name = self._target or self._named("instance")
        found = [
            v for v in self._snapshot.instances if name in (v.name, words.short_instance(v.name))
        ]
        return _only(found, "instance", name)

    def _named(self, kind: str) -> str:
        selected, name = self._view.selected()
        if selected != kind:
            raise UsageError(f"no {kind} is selected")
        return name

    # --- looking ---

    async def open(self) -> None:
        """Go to what the line is about."""
        kind, name = self._view.selected()
        if isinstance(self._view, EventsScreen):
            kind, name = self._subject_of_event(self._view)
        if kind == "instance":
            self._app.push_screen(InstanceScreen(name))
        elif kind == "worker":
            await self._app.go_to(TABS[2], f"worker:{name}")
        elif kind == "service":
            await self._app.go_to(TABS[3], shown=f"service={name}")
        elif kind == "cluster":
            await self._app.go_to(TABS[2], shown=f"cluster={name}")
        elif kind == "pair":
            await self._path()
        elif kind:
            raise UsageError("there is nothing to open")

    def _subject_of_event(self, view: EventsScreen) -> tuple[str, str]:
        event = view.event()
        if event is None:
            return "", ""
        kind = event.kind.partition(".")[0]
        subject = event.subject.removeprefix(f"{kind} ")
        known = {
            "instance": {each.name for each in self._snapshot.instances},
            "worker": {f"{each.cluster}/{each.name}" for each in self._snapshot.workers},
            "service": {each.job_name for each in self._snapshot.services},
            "cluster": {each.name for each in self._snapshot.clusters},
        }
        if kind == "worker" and "/" not in subject:
            subject = f"{event.cluster}/{subject}"
        if subject not in known.get(kind, set()):
            raise NotFound(f"{event.subject} is not there any more")
        return kind, subject

    async def logs(self) -> None:
        """One instance: its states, its output."""
        self._app.push_screen(InstanceScreen(self._instance().name))

    async def explain(self) -> None:
        """Why instances are where they are."""
        name = self._service().job_name
        async with self._app.feed.connect() as root:
            found = await root.explain(name)
        self._app.push_screen(TextScreen(f"Why {name} is where it is", explanation.lines(found)))

    async def reach(self) -> None:
        """Tries from inside the nodes."""
        nodes = (self._target,) if self._target else ()
        self._app.say("asking the nodes, which takes some seconds")
        async with self._app.feed.connect() as root:
            found = await root.overlay.test(nodes)
        self._app.push_screen(TextScreen("What is reached", overlay.tested_lines(found)))

    async def trace(self) -> None:
        """A service from one node; where none is named, from one that talks to it."""
        view = self._service()
        node = self._argument or self._node_for(view.job_name)
        async with self._app.feed.connect() as root:
            found = await root.overlay.trace(view.job_name, node)
        lines = overlay.trace_lines(found, self._app.feed.clock())
        self._app.push_screen(TextScreen(f"{view.name} from {node}", lines))

    def _node_for(self, job_name: str) -> str:
        if isinstance(self._view, OverlayScreen):
            node = self._view.node_for(job_name)
            if node:
                return node
        raise UsageError("no node talks to it", hint=BY_NAME["trace"].usage)

    async def _path(self) -> None:
        pair = self._view.pair() if isinstance(self._view, OverlayScreen) else None
        if pair is None:
            raise NotFound("that pair carries no traffic any more")
        async with self._app.feed.connect() as root:
            found = await root.overlay.route(pair.a, pair.b)
        self._app.push_screen(TextScreen(f"{pair.a} → {pair.b}", overlay.route_lines(found)))

    async def theme(self) -> None:
        """The other colours, or those that were named."""
        self._app.choose_look(self._argument)

    async def help(self) -> None:
        """The keys of this view."""
        self._app.push_screen(HelpScreen(self._view.view, read_only=self._app.read_only))

    async def palette(self) -> None:
        """All that can be done here, to search in."""
        self._app.action_command_palette()

    async def setup(self) -> None:
        """The wizard."""
        await self._app.open_wizard()

    async def refresh(self) -> None:
        """Ask the root now."""
        self._app.feed.ask_now()

    async def quit(self) -> None:
        """Leave."""
        self._app.action_leave()

    # --- changing ---

    async def edit(self) -> None:
        """A descriptor, in a file that is there or a new one."""
        name: str | None = self._argument
        if not name:
            question = "Which descriptor? A new file begins with an example."
            name = await self._app.push_screen_wait(AskScreen(question, "app.yaml"))
        if name is not None:
            self._app.open_editor(editing.opened(name))

    async def scale(self) -> None:
        """Another number of instances."""
        view = self._service()
        text = self._argument
        if not text:
            question = f"How many instances of {view.job_name} are wanted?"
            given = await self._app.push_screen_wait(AskScreen(question, str(view.wanted)))
            if given is None:
                return
            text = given
        wanted = changes.replicas(text)
        await self._change(
            changes.scale(view, wanted), lambda root: root.scale(view.job_name, wanted)
        )

    async def restart(self) -> None:
        """New instances for old ones."""
        view = self._service()
        await self._change(changes.restart(view), lambda root: root.restart(view.job_name))

    async def migrate(self) -> None:
        """An instance to another worker."""
        view = self._instance()
        to = self._argument
        if not to:
            question = f"To which worker, as CLUSTER/WORKER? It is on {view.cluster}/{view.worker}."
            given = await self._app.push_screen_wait(AskScreen(question))
            if not given:
                return
            to = given
        await self._change(changes.migrate(view, to), lambda root: root.migrate(view.name, to))

    async def delete(self) -> None:
        """The application of a service."""
        view = self._service()
        await self._change(
            changes.delete(view, self._snapshot),
            lambda root: root.delete_application(view.application),
        )

    async def cordon(self) -> None:
        """Nothing new for a worker."""
        view = self._worker()
        await self._change(
            changes.cordon(view, self._snapshot.instances),
            lambda root: root.cordon(view.cluster, view.name, True),
        )

    async def uncordon(self) -> None:
        """A worker takes instances again."""
        view = self._worker()
        await self._change(
            changes.uncordon(view), lambda root: root.cordon(view.cluster, view.name, False)
        )

    async def drain(self) -> None:
        """An empty worker."""
        view = self._worker()
        ready = [w for w in self._snapshot.workers if w.status == "ready" and w != view]
        await self._change(
            changes.drain(view, self._snapshot.instances, len(ready)),
            lambda root: root.drain(view.cluster, view.name),
        )

    async def _change(self, question: Question, make: Callable[[Root], Awaitable[object]]) -> None:
        """The one way in which a screen changes the fleet."""
        if not await self._app.push_screen_wait(ConfirmScreen.of(question)):
            return
        async with self._app.feed.connect() as root:
            await make(root)
        self._app.feed.ask_now()
        self._app.say(f"{question.command}: done, the fleet follows")


def _only(found: list[T], kind: str, name: str) -> T:
    if not name:
        raise UsageError(f"no {kind} is selected")
    if not found:
        raise NotFound(f"there is no {kind} {name}")
    if len(found) > 1:
        raise UsageError(f"there is more than one {kind} {name}", hint="give its full name")
    return found[0]


async def told(work: Awaitable[None], tell: Callable[[OakError], None]) -> None:
    """Await `work`; an OakError is told, and not the end of anything."""
    try:
        await work
    except OakError as error:
        tell(error)
