"""Steps one and two: which machines, and what stands in the way on them."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Button, Static, TextArea

from oakctl.errors import OakError, UsageError
from oakctl.fleet import looking
from oakctl.fleet.state import Wanted
from oakctl.remote import ssh_config
from oakctl.tui.plain import plain_lines
from oakctl.tui.screens.ask import AskScreen
from oakctl.tui.screens.confirm import ConfirmScreen
from oakctl.tui.screens.wizard.frame import WizardScreen
from oakctl.tui.viewmodels import words
from oakctl.tui.widgets.keyed_table import KeyedTable
from oakctl.tui.wizard import checking, hosts
from oakctl.tui.wizard.checking import Checked
from oakctl.tui.wizard.draft import Step


class HostsStep(WizardScreen):
    """Lines to type or paste."""

    step: ClassVar[Step] = Step.HOSTS
    question: ClassVar[str] = (
        f"Which machines? One a line: {hosts.FORM}, as in: pi-1=pi@192.168.1.20"
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+o", "ssh_config", "From ssh_config", priority=True),
    ]

    def compose_step(self) -> ComposeResult:
        """A box for lines."""
        yield TextArea(self.wizard.draft.hosts, id="hosts", classes="body", tab_behavior="focus")

    def begin_step(self) -> None:
        """Where nothing is proposed, one begins to type."""
        self._judge()
        if not self.wizard.draft.hosts:
            self.query_one("#hosts").focus()
        self.begin(self._learn())

    async def _learn(self) -> None:
        async with self.wizard.connect() as root:
            await self.wizard.learn(root)
        box = self.query_one("#hosts", TextArea)
        if not box.text.strip() and self.wizard.draft.hosts:
            box.text = self.wizard.draft.hosts
            self.query_one("#next", Button).focus()
        self._judge()

    def on_text_area_changed(self) -> None:
        """Each line is read as it is typed."""
        self._judge()

    def _judge(self) -> None:
        typed = self._typed()
        self.tell(*typed.faults[:3], words.count(len(typed.hosts), "host"))

    def _typed(self) -> hosts.Typed:
        return hosts.read(self.query_one("#hosts", TextArea).text, self.wizard.known)

    def action_ssh_config(self) -> None:
        """Add the aliases of ~/.ssh/config that are not there yet."""
        box = self.query_one("#hosts", TextArea)
        there = {host.name for host in self._typed().hosts}
        found = []
        for file in ssh_config.files():
            try:
                text = file.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            found += [x for x in hosts.of_ssh_config(text) if x.partition("=")[0] not in there]
        if not found:
            self.tell("ssh_config names no other host")
            return
        begin = box.text if not box.text or box.text.endswith("\n") else box.text + "\n"
        box.text = begin + "".join(f"{line}\n" for line in dict.fromkeys(found))

    async def decided(self) -> None:
        """On, when each line is a host."""
        typed = self._typed()
        if typed.faults:
            raise UsageError("a line is no host", details=typed.faults[:2])
        if not typed.hosts:
            raise UsageError("no host is named yet")
        self.wizard.checked = None
        self.wizard.keep(hosts=self.query_one("#hosts", TextArea).text)
        await self.go(Step.CHECK)


class CheckStep(WizardScreen):
    """The matrix of what was found, with what to type."""

    step: ClassVar[Step] = Step.CHECK
    question: ClassVar[str] = (
        "What stands in the way? Nothing is changed by looking. What cannot be used is left out."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "again", "Look again"),
        Binding("t", "trust", "Trust keys"),
        Binding("p", "password", "Password for sudo"),
        Binding("space", "out", "Leave out"),
    ]

    def compose_step(self) -> ComposeResult:
        """A line for each host, and the findings of one."""
        yield KeyedTable(checking.COLUMNS, id="matrix", classes="body")
        yield Static(id="found", classes="text")

    def begin_step(self) -> None:
        """Look, unless that was done."""
        self._draw()
        self.query_one("#matrix").focus()
        self.begin(self._look())

    def _draw(self) -> None:
        if not self.is_attached or not self.query("#matrix"):
            return
        wizard = self.wizard
        table = self.query_one("#matrix", KeyedTable)
        table.show(checking.rows(wizard.typed.hosts, wizard.checked, wizard.draft.left_out))
        self._tell_one()

    def _tell_one(self) -> None:
        key = self.query_one("#matrix", KeyedTable).selected_key
        found = list(checking.details(key, self.wizard.checked))[:10]
        self.query_one("#found", Static).update(plain_lines(found))

    def on_keyed_table_moved(self) -> None:
        """Another host is looked at."""
        self._tell_one()

    async def _look(self) -> None:
        wizard = self.wizard
        self.tell(f"asking {words.count(len(wizard.typed.hosts), 'host')} …")
        async with wizard.connect() as root:
            await wizard.learn(root)
            wanted = Wanted(wizard.used)
            seen = await looking.look(root, wanted, accept_new=wizard.trusted)
        wizard.checked = Checked.of(seen)
        self._draw()
        bad = wizard.checked.unusable(wizard.used)
        ready = len(wizard.used) - len(bad)
        told = [f"{words.count(ready, 'host')} can be used"]
        if wizard.checked.unknown_keys:
            told.append("t shows keys that are not known yet, and trusts them")
        if wizard.checked.asks_password:
            told.append("p gives the password that sudo asks for")
        self.tell(*told)
        if not bad and not wizard.checked.asks_password:
            self.query_one("#next", Button).focus()

    def action_again(self) -> None:
        """Ask all hosts once more."""
        self.wizard.checked = None
        self._draw()
        self.begin(self._look())

    def action_out(self) -> None:
        """Leave a host out, or take it in again."""
        key = self.query_one("#matrix", KeyedTable).selected_key
        if key:
            out = set(self.wizard.draft.left_out) ^ {key}
            self.wizard.keep(left_out=tuple(sorted(out)))
            self._draw()

    def action_trust(self) -> None:
        """Show the keys that are not known, and trust them when that is agreed to."""
        self.begin(self._trust())

    async def _trust(self) -> None:
        found = self.wizard.checked
        if found is None or not found.unknown_keys:
            self.tell("there is no key to trust")
            return
        lines = []
        for name in found.unknown_keys:
            fault = found.faults[name]
            lines += [fault.message, *(f"  {detail}" for detail in fault.details)]
        question = f"Trust the keys of {', '.join(found.unknown_keys)} from now on?"
        if await self.app.push_screen_wait(ConfirmScreen(question, "Trust", lines)):
            self.wizard.trusted |= set(found.unknown_keys)
            await self._look()

    def action_password(self) -> None:
        """Give the password for sudo to the root, for the hosts that ask for one."""
        self.begin(self._give_password())

    async def _give_password(self) -> None:
        asking = self.wizard.checked.asks_password if self.wizard.checked else ()
        if not asking:
            self.tell("no host asks for a password")
            return
        question = f"Password for sudo on {', '.join(asking)} (kept in the root's memory alone)"
        given = await self.app.push_screen_wait(AskScreen(question, hidden=True))
        if given:
            async with self.wizard.connect() as root:
                for host in asking:
                    await root.give_password(host, given)
            await self._look()

    async def decided(self) -> None:
        """On, with the hosts that can be used."""
        found = self.wizard.checked
        if found is None:
            raise OakError("the hosts have not all answered yet")
        bad = found.unusable(self.wizard.used)
        if len(bad) == len(self.wizard.used):
            raise UsageError("no host can be used yet", hint="each says above what to do")
        if bad:
            out = tuple(sorted({*self.wizard.draft.left_out, *bad}))
            self.wizard.keep(left_out=out)
        self.wizard.propose()
        await self.go(Step.ROLES)
