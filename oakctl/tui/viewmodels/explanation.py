"""Why the instances of a service are where they are, as text.

Belongs here: the words around verdicts. Does not belong here: the verdicts.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from oakctl.model.messages import Verdict
from oakctl.model.views import Decision, Explanation
from oakctl.tui.viewmodels import words


def lines(explanation: Explanation) -> Iterator[str]:
    """The explanation, line by line."""
    yield f"{explanation.job_name}: {explanation.summary}"
    for decision in explanation.decisions:
        yield ""
        yield _head(decision)
        for verdict in decision.verdicts:
            yield f"  {_verdict(verdict)}"
    if explanation.notes:
        yield ""
        for note in explanation.notes:
            yield f"note: {note}"


def _head(decision: Decision) -> str:
    clock = datetime.datetime.fromtimestamp(decision.at).astimezone().strftime("%H:%M:%S")
    instance = words.short_instance(decision.instance)
    return f"{clock} {instance}: {decision.by} decided: {decision.outcome}"


def _verdict(verdict: Verdict) -> str:
    mark = f"fits, score {words.number(verdict.score)}" if verdict.fits else "no"
    reasons = "; ".join(verdict.reasons)
    return f"{verdict.candidate}: {mark}{': ' if reasons else ''}{reasons}"
