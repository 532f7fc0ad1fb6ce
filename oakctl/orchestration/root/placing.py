"""The changes that a placement makes to the stored rows, each one transaction.

Belongs here: how a row moves from phase to phase, with its event and with the share it changes.
Does not belong here: which move is due (`root.delegation`), who sends (`root.driver`).
"""

from __future__ import annotations

from dataclasses import replace

from sqlite_utils import Database

from oakctl.model.messages import OfferAnswer
from oakctl.model.service import instance_name
from oakctl.orchestration.root.delegation import Key, Phase, Row
from oakctl.orchestration.root.store import events, records, wanted


def begin_offer(db: Database, key: Key, cluster: str, now: float) -> Row | None:
    """Give the instance to `cluster` with a new epoch, before it is asked.

    None when it is not wanted any more, or has a place.
    """
    row = wanted.instance(db, key)
    if row is None or not row.wanted or row.phase is not Phase.UNPLACED:
        return None
    epoch = wanted.next_epoch(db, key)
    offered = replace(row, phase=Phase.OFFERED, epoch=epoch, cluster=cluster, since=now)
    wanted.put_instance(db, offered)
    return offered


def renew_offer(db: Database, key: Key, cluster: str, now: float) -> Row | None:
    """The offer whose answer was lost, to be sent again; None when it was withdrawn meanwhile."""
    row = wanted.instance(db, key)
    if row is None or row.phase is not Phase.OFFERED or row.cluster != cluster:
        return None
    return row


def end_offer(db: Database, offered: Row, answer: OfferAnswer, now: float) -> Row | None:
    """Store the cluster's answer to `offered`; returns the row as it is then.

    A row that was withdrawn meanwhile stays so when the cluster accepted, and is free when it
    refused.
    """
    row = wanted.instance(db, offered.key)
    if row is None or (row.epoch, row.cluster) != (offered.epoch, offered.cluster):
        return row
    if answer.accepted and row.phase is Phase.OFFERED:
        row = replace(row, phase=Phase.PLACED, since=now)
        wanted.put_instance(db, row)
        wanted.raise_share(db, (row.cluster, row.job_name))
        events.append(
            db,
            now,
            "instance.placed",
            instance_name(*row.key),
            f"cluster {row.cluster} took it",
            reason=f"on worker {answer.worker}" if answer.worker else "",
            cluster=row.cluster,
        )
    elif not answer.accepted:
        row = vacate(db, row, now)
    return row


def give_up_offer(db: Database, key: Key, cluster: str, now: float) -> None:
    """Free an instance whose offer to `cluster` was never answered; what the cluster may have of
    it is withdrawn by the share, whenever it can be told."""
    row = wanted.instance(db, key)
    if row is None or row.phase is not Phase.OFFERED or row.cluster != cluster:
        return
    wanted.raise_share(db, (cluster, row.job_name))
    events.append(
        db,
        now,
        "instance.given-up",
        instance_name(*key),
        f"cluster {cluster} was offered it and never answered",
        cluster=cluster,
    )
    vacate(db, row, now)


def withdraw(db: Database, row: Row, now: float, *, keep_wanted: bool = False) -> None:
    """Ask its cluster to let go of the instance; a row without a cluster is free at once."""
    if row.phase is Phase.UNPLACED:
        if not keep_wanted:
            wanted.forget_instance(db, row.key)
        return
    still = row.wanted and keep_wanted
    since = row.since if row.phase is Phase.WITHDRAWING else now
    wanted.put_instance(db, replace(row, phase=Phase.WITHDRAWING, wanted=still, since=since))
    wanted.raise_share(db, (row.cluster, row.job_name))


def vacate(db: Database, row: Row, now: float) -> Row | None:
    """Its cluster does not have it: free to be placed anew, or removed when not wanted."""
    if row.wanted:
        free = replace(row, phase=Phase.UNPLACED, cluster="", since=now)
        wanted.put_instance(db, free)
        return free
    wanted.forget_instance(db, row.key)
    events.append(
        db,
        now,
        "instance.undeployed",
        instance_name(*row.key),
        "it is gone",
        cluster=row.cluster,
    )
    return None


def gone(db: Database, key: Key, now: float) -> None:
    """Its cluster has shown that the instance is not there any more."""
    row = wanted.instance(db, key)
    if row is not None and row.phase in (Phase.WITHDRAWING, Phase.UNPLACED):
        vacate(db, row, now)


def forget_service(db: Database, job_name: str, application: str, now: float) -> None:
    """Remove a service nothing is left of, and its application with its last service."""
    wanted.forget_service(db, job_name)
    records.forget_decisions(db, job_name)
    if not wanted.services(db, application):
        wanted.forget_application(db, application)
        events.append(db, now, "application.deleted", application, "every instance is gone")
