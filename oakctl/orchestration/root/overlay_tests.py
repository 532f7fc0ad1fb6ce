"""What failed tries from inside nodes have in common, and what to do. Pure.

Belongs here: from many outcomes to few causes. Does not belong here: trying (the nodes).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oakctl.model.overlay_asking import FAILED, Probe
from oakctl.model.overlay_report import HOST
from oakctl.model.overlay_views import TriesView, Trouble
from oakctl.orchestration.root.overlay_troubles import FAULT, NOTE


def troubles(tests: Iterable[TriesView]) -> Iterator[Trouble]:
    """One for each cause."""
    for test in tests:
        if test.fault:
            yield Trouble(test.node, f"not tried: {test.fault}", _show(test.node), FAULT)
        elif test.driver == HOST:
            words = "there is no overlay: only instances at their host's own address were tried"
            yield Trouble(test.node, words, "oakctl overlay status", NOTE)
        elif not test.probes:
            words = "nothing was tried: what runs there names no service with a port"
            yield Trouble(test.node, words, "oakctl service ls -o wide", NOTE)
        if test.untried:
            words = f"{test.untried} more were not tried: there is too much that it leads to"
            yield Trouble(test.node, words, "", NOTE)
        yield from _of_failures(test)


def _of_failures(test: TriesView) -> Iterator[Trouble]:
    failed = [probe for probe in test.probes if probe.outcome == FAILED]
    away = {probe.to for probe in failed if probe.kind == "ping"}
    for node in sorted(away):
        words = f"{node} does not answer a ping"
        yield Trouble(test.node, words, f"oakctl overlay path {test.node} {node}", FAULT)
    for probe in failed:
        if probe.kind == "ping large" and probe.to not in away:
            words = f"{probe.to} answers small packets and no large ones: a path in between"
            words += " loses them"
            hint = "let ICMP `fragmentation needed` through there, or lower that link's MTU on both"
            yield Trouble(test.node, words, hint, FAULT)
        elif probe.kind in ("tcp", "udp"):
            yield _of_port(test.node, probe)


def _of_port(node: str, probe: Probe) -> Trouble:
    job, mark, _ = probe.to.partition(".instance.")
    where = f"{probe.address}:{probe.port}/{probe.kind}"
    words = f"{probe.to} at {where}: {probe.words}"
    if not mark:
        service = probe.to.partition(" ")[0]
        return Trouble(node, words, f"oakctl overlay trace {service} --from {node}", FAULT)
    if "refused" in probe.words:
        hint = f"see whether it listens on $OAKCTL_BIND: oakctl instance logs {probe.to}"
        return Trouble(node, words, hint, FAULT)
    return Trouble(node, words, f"oakctl overlay trace {job} --from {node}", FAULT)


def _show(node: str) -> str:
    return f"oakctl worker show {node}"
