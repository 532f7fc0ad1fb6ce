"""Who lets a host restart: the option, or somebody at a terminal who is asked."""

from __future__ import annotations

import pytest

from oakctl.cli import diagnostics, fleet
from oakctl.fleet.plan import Plan
from oakctl.model.views import StepEvent

NEEDED = StepEvent(0.0, "pi", "raspberry_pi: restart into it", "skipped", "needed", reboots=True)
PLANNED = StepEvent(0.0, "pi", "raspberry_pi: restart into it", "planned", "needed", reboots=True)


@pytest.mark.parametrize("answer", [True, False])
async def test_the_terminal_is_asked_once_for_what_is_withheld(
    monkeypatch: pytest.MonkeyPatch, answer: bool
) -> None:
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return answer

    monkeypatch.setattr(diagnostics, "can_prompt", lambda: True)
    monkeypatch.setattr(diagnostics, "ask", ask)
    assert await fleet._may_restart(Plan(restarts=(NEEDED, NEEDED))) is answer
    assert asked == ["May pi restart in it?"]
    # What is agreed to already, or not needed, is not asked about.
    assert not await fleet._may_restart(Plan(restarts=(PLANNED,)))
    assert not await fleet._may_restart(Plan())
    assert len(asked) == 1


async def test_without_a_terminal_nothing_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "can_prompt", lambda: False)
    assert not await fleet._may_restart(Plan(restarts=(NEEDED,)))
