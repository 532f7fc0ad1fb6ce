"""How grave a finding about a host is, and in which order findings are told. Pure.

Severities: `block` - nothing can be done with the host as it is; `fixable` - something will not
work until the remedy is applied; `note` - worth knowing, nothing has to be done. Does not belong
here: what is found (`preflight`, `fleet_check`, `reach_rules`).
"""

from __future__ import annotations

from collections.abc import Iterable

from oakctl.model.views import HostFinding

BLOCK, FIXABLE, NOTE = "block", "fixable", "note"


def in_order(findings: Iterable[HostFinding]) -> list[HostFinding]:
    """Worst first, otherwise as found."""
    return sorted(findings, key=lambda finding: (BLOCK, FIXABLE, NOTE).index(finding.severity))
