"""Step five: the plan is carried out, host by host and phase by phase."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Button

from oakctl.client.root import RootClient
from oakctl.errors import OakError
from oakctl.fleet import looking
from oakctl.fleet.applier import Applier
from oakctl.model.views import OperationView
from oakctl.tui.plain import plain_text
from oakctl.tui.screens.wizard.choosing import asked, plan_of
from oakctl.tui.screens.wizard.frame import WizardScreen
from oakctl.tui.viewmodels import words
from oakctl.tui.widgets.bounded_log import BoundedLog
from oakctl.tui.widgets.keyed_table import KeyedTable
from oakctl.tui.wizard import progress
from oakctl.tui.wizard.draft import Step

AT_ONCE = 16
DRAW_S = 0.5


class ApplyStep(WizardScreen):
    """Carries on what an earlier run left: the root keeps the journal."""

    step: ClassVar[Step] = Step.APPLY
    question: ClassVar[str] = "The fleet is being made. What fails on one host stops no other."
    BINDINGS: ClassVar[list[BindingType]] = [Binding("r", "again", "Try what failed again")]

    def compose_step(self) -> ComposeResult:
        """Host × phase, and what was said last."""
        yield KeyedTable(progress.COLUMNS, id="matrix", classes="body")
        log = BoundedLog(id="log", classes="body")
        log.border_title = "Steps"
        yield log

    def begin_step(self) -> None:
        """Begin."""
        self._at_work = False
        self._drawn = -1
        self._lines_told = 0
        self.set_interval(DRAW_S, self._draw)
        if self.wizard.draft.applied:
            self.tell("the fleet is there")
        else:
            self.query_one("#matrix").focus()
            self.begin(self._apply(), "apply")

    def _draw(self) -> None:
        found = self.wizard.progress
        if found.changes == self._drawn or not self.query("#log"):
            return
        self._drawn = found.changes
        self.query_one("#matrix", KeyedTable).show(found.rows())
        lines = found.since(self._lines_told)
        self._lines_told = found.told
        self.query_one("#log", BoundedLog).feed(plain_text(line) for line in lines)

    async def _apply(self) -> None:
        if self._at_work:
            return
        self._at_work = True
        try:
            await self._made()
        finally:
            self._at_work = False
            self._draw()

    async def _made(self) -> None:
        wizard = self.wizard
        async with wizard.connect() as root:
            self.tell("looking what is left to be done …")
            await wizard.learn(root)
            await looking.settle(root, asked(wizard), lambda begun: self._settled(root, begun))
            await plan_of(wizard)
            plan, wanted = wizard.plan, asked(wizard)
            if plan is None:
                return
            wizard.progress.expect(plan.changes)
            if plan.faults:
                fault = plan.faults[0]
                raise OakError(fault.message, hint="r tries again", details=fault.details)
            self.tell(f"{words.count(len(plan.changes), 'change')} …")
            outcome = await Applier(root, wanted, wizard.progress, limit=AT_ONCE).run(plan)
        if outcome.failed:
            first = outcome.failed[0]
            raise OakError(
                f"{len(outcome.failed)} of {len(plan.changes)} changes failed: "
                f"{first.change.kind} {first.change.name}: {first.error.message}",
                hint="r tries again what failed",
                details=tuple(first.error.details[:2]),
            )
        wizard.keep(applied=True)
        self.tell("the fleet is there")
        self.query_one("#next", Button).focus()

    async def _settled(self, root: RootClient, begun: OperationView) -> None:
        self.tell(f"{begun.subject}: an earlier run works on it, operation {begun.id}")
        try:
            await root.wait_operation(begun.id)
        except OakError as error:
            self.tell(f"{begun.subject}: that failed: {error.message}")

    def action_again(self) -> None:
        """Plan what is left, and do that."""
        if not self._at_work:
            self.begin(self._apply(), "apply")

    def action_leave(self) -> None:
        """Not in the middle: the root would be stopped with the app."""
        if self._at_work:
            self.tell("work on hosts is under way; leave when it has ended (ctrl+q ends the app)")
        else:
            super().action_leave()

    async def decided(self) -> None:
        """On, when the fleet is there."""
        if self._at_work:
            raise OakError("it is not done yet")
        if not self.wizard.draft.applied:
            raise OakError("not all of it is there", hint="r tries again what failed")
        await self.go(Step.APPLICATION)
