"""Steps three and four: who is what, and the plan that follows from it."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Button, Static

from oakctl.errors import OakError, UsageError
from oakctl.fleet import looking, planner, reading, writing
from oakctl.fleet.state import Wanted
from oakctl.orchestration.root import names
from oakctl.tui.plain import plain_lines
from oakctl.tui.screens.ask import AskScreen
from oakctl.tui.screens.confirm import ConfirmScreen
from oakctl.tui.screens.wizard.frame import Wizard, WizardScreen
from oakctl.tui.viewmodels import words
from oakctl.tui.viewmodels.plan_text import plan_lines
from oakctl.tui.viewmodels.rows import Row, cell
from oakctl.tui.widgets.keyed_table import KeyedTable
from oakctl.tui.wizard import proposing
from oakctl.tui.wizard.checking import Checked
from oakctl.tui.wizard.draft import Role, Step

COLUMNS = ("Host", "Role", "What it is")


class RolesStep(WizardScreen):
    """A proposal, to be changed line by line."""

    step: ClassVar[Step] = Step.ROLES
    question: ClassVar[str] = (
        "Who is what? An orchestrator leads the workers of its cluster; workers run applications."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "role('orchestrator')", "Orchestrator"),
        Binding("w", "role('worker')", "Worker"),
        Binding("c", "cluster", "Cluster"),
        Binding("p", "propose", "Propose anew"),
    ]

    def compose_step(self) -> ComposeResult:
        """A line for each host."""
        yield KeyedTable(COLUMNS, id="roles", classes="body")

    def begin_step(self) -> None:
        """Show the proposal."""
        if not self.wizard.draft.roles:
            self.wizard.propose()
        self._draw()

    def _draw(self) -> None:
        wizard = self.wizard
        machines = (wizard.checked or Checked()).machines
        rows = [
            Row(
                host.name,
                (
                    cell(host.name),
                    cell(str(wizard.draft.roles.get(host.name, Role()))),
                    cell(proposing.describe(machines.get(host.name))),
                ),
            )
            for host in wizard.used
        ]
        self.query_one("#roles", KeyedTable).show(rows)
        faults = proposing.faults(wizard.draft.roles)
        self.tell(*faults[:3] or ["o, w and c change the line under the cursor"])

    def _change(self, **changes: object) -> None:
        key = self.query_one("#roles", KeyedTable).selected_key
        if key:
            role = self.wizard.draft.roles.get(key, Role())
            changed = replace(role, **changes)  # type: ignore[arg-type]
            if not changed.cluster:
                changed = replace(changed, cluster=self._first_cluster())
            self.wizard.keep(roles={**self.wizard.draft.roles, key: changed})
            self._draw()

    def _first_cluster(self) -> str:
        named = [role.cluster for role in self.wizard.draft.roles.values() if role.cluster]
        return named[0] if named else proposing.FIRST_CLUSTER

    def action_role(self, what: str) -> None:
        """It is one, or it is none any more."""
        key = self.query_one("#roles", KeyedTable).selected_key
        role = self.wizard.draft.roles.get(key, Role())
        self._change(**{what: not getattr(role, what)})

    def action_cluster(self) -> None:
        """Put the host into another cluster."""
        self.begin(self._ask_cluster())

    async def _ask_cluster(self) -> None:
        key = self.query_one("#roles", KeyedTable).selected_key
        role = self.wizard.draft.roles.get(key, Role())
        given = await self.app.push_screen_wait(AskScreen(f"Cluster of {key}", role.cluster))
        if given is not None:
            self._change(cluster=names.check(given.strip(), "cluster"))

    def action_propose(self) -> None:
        """Forget the changes."""
        self.wizard.keep(roles={})
        self.wizard.propose()
        self._draw()

    async def decided(self) -> None:
        """On, when each cluster has what it needs."""
        faults = proposing.faults(self.wizard.draft.roles)
        if faults:
            raise UsageError(faults[0])
        await self.go(Step.PLAN)


def asked(wizard: Wizard) -> Wanted:
    """The fleet of the draft, by way of the text of its file: what is saved is what is done."""
    return reading.parse(text_of(wizard), wizard.file.parent)


def text_of(wizard: Wizard) -> str:
    """The fleet file."""
    roles = wizard.draft.roles
    return writing.of(proposing.wanted(wizard.used, roles, wizard.clusters, wizard.workers))


async def plan_of(wizard: Wizard) -> None:
    """Look at the hosts, and plan as `fleet plan` does."""
    async with wizard.connect() as root:
        await wizard.learn(root)
        wanted = asked(wizard)
        seen = await looking.look(root, wanted, accept_new=wizard.trusted)
        wizard.plan = planner.plan(wanted, seen)


class PlanStep(WizardScreen):
    """The same plan as `oakctl fleet plan`."""

    step: ClassVar[Step] = Step.PLAN
    question: ClassVar[str] = "Shall it be done? Nothing has been changed yet on any host."
    next_word: ClassVar[str] = "Apply"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "again", "Plan again"),
        Binding("f", "file", "File name"),
    ]

    def compose_step(self) -> ComposeResult:
        """The plan's lines."""
        with VerticalScroll(classes="body"):
            yield Static(id="plan")

    def begin_step(self) -> None:
        """Plan; until that is done Enter goes nowhere."""
        self.query_one(VerticalScroll).focus()
        self.begin(self._plan())

    async def _plan(self) -> None:
        self.wizard.plan = None
        self.tell("asking each host what is missing …")
        await plan_of(self.wizard)
        self._draw()

    def _draw(self) -> None:
        plan = self.wizard.plan
        if plan is None or not self.query("#plan"):
            return
        self.query_one("#plan", Static).update(plain_lines([*plan_lines(plan, steps=True)]))
        self.tell(f"the fleet file will be {self.wizard.file}; f names another")
        self.query_one("#next", Button).focus()

    def action_again(self) -> None:
        """Look and plan once more."""
        self.begin(self._plan())

    def action_file(self) -> None:
        """Another name for the fleet file."""
        self.begin(self._ask_file())

    async def _ask_file(self) -> None:
        given = await self.app.push_screen_wait(
            AskScreen("Where shall the fleet file be?", self.wizard.draft.file)
        )
        if given and given.strip():
            self.wizard.keep(file=given.strip())
            self._draw()

    async def decided(self) -> None:
        """Save the file, and apply when that is agreed to."""
        plan = self.wizard.plan
        if plan is None:
            raise OakError("the plan is not there yet")
        blocked = [each for each in plan.changes if each.blocked]
        if blocked:
            raise UsageError(
                f"{blocked[0].kind} {blocked[0].name}: {blocked[0].blocked}", hint=blocked[0].hint
            )
        if plan.faults:
            raise UsageError(plan.faults[0].message, hint=plan.faults[0].hint)
        hosts = ", ".join(dict.fromkeys(each.host for each in plan.changes))
        told = [f"{words.count(len(plan.changes), 'change')} on {hosts or 'no host'}"]
        told.append(f"{self.wizard.file} will be {'replaced' if self._there() else 'written'}")
        told.append("each host can be left as it was: oakctl fleet destroy")
        if await self.app.push_screen_wait(ConfirmScreen("Make this fleet?", "Make it", told)):
            self._save()
            await self.go(Step.APPLY)

    def _there(self) -> bool:
        return self.wizard.file.exists()

    def _save(self) -> None:
        file = self.wizard.file
        try:
            file.write_text(text_of(self.wizard), encoding="utf-8")
        except OSError as error:
            raise OakError(
                f"{file} cannot be written: {error.strerror}", hint="f names another file"
            ) from error
