"""Who may open a session of which kind in this cluster. Pure.

Belongs here: the rule, asked by the relay before a worker hears of a session. Does not belong
here: carrying frames (`session_relay`).
"""

from __future__ import annotations

from oakctl.model import sessions, subjects

# Each of these lets whoever opens it do anything that the instance itself may do.
SHELLS = (sessions.EXEC, sessions.COPY_IN, sessions.COPY_OUT)


def may_open(kind: str, account: str) -> str:
    """Why the root with this account of the bus may not open such a session; empty: it may.

    Only the cluster's owner gets a shell: a root that was let in by it deploys, and no more.
    """
    if kind not in sessions.KINDS:
        return f"sessions of kind {kind[:20]!r} are not known in this cluster"
    if kind in SHELLS and account != subjects.USER_ROOT:
        return f"{account} is no owner of this cluster: rule no-shell"
    return ""
