"""The tables, made by migrations; a migration that was released is never changed.

Belongs here: columns and keys. Bodies that are only ever read whole are JSON (`wire`).
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

migrations = Migrations("oakctl.root")


@migrations()
def fleet(db: Database) -> None:
    """Hosts, clusters, workers, and the work done on them."""
    db.table("hosts").create({"name": str, "body": str}, pk="name", not_null={"body"}, strict=True)
    db.table("clusters").create(
        {
            "name": str,
            "host": str,
            "policy": str,
            "location": str,  # JSON or null
            "block": int,  # index of its node subnets and service addresses
            "state": str,  # creating, ready, removing
            "created_at": float,
        },
        pk="name",
        not_null={"host", "policy", "block", "state", "created_at"},
        foreign_keys=[("host", "hosts", "name")],
        strict=True,
    )
    db.table("clusters").create_index(["host"], unique=True)
    db.table("clusters").create_index(["block"], unique=True)
    db.table("workers").create(
        {
            "cluster": str,
            "name": str,
            "host": str,
            "body": str,  # the WorkerAdd
            "state": str,  # joining, ready, removing
        },
        pk=("cluster", "name"),
        not_null={"host", "body", "state"},
        foreign_keys=[("host", "hosts", "name"), ("cluster", "clusters", "name")],
        strict=True,
    )
    db.table("workers").create_index(["host"], unique=True)
    db.table("operations").create(
        {
            "id": int,
            "kind": str,
            "subject": str,
            "state": str,
            "started_at": float,
            "ended_at": float,
            "error": str,
            "hint": str,
            "exit_code": int,
            "details": str,
        },
        pk="id",
        not_null={"kind", "subject", "state", "started_at"},
        strict=True,
    )
    db.table("operation_steps").create(
        {"operation": int, "number": int, "body": str},
        pk=("operation", "number"),
        not_null={"body"},
        foreign_keys=[("operation", "operations", "id")],
        strict=True,
    )


@migrations()
def applications(db: Database) -> None:
    """What is wanted, and which cluster has been given what of it."""
    db.table("applications").create(
        {"name": str, "description": str, "created_at": float, "deleting": int},
        pk="name",
        not_null={"description", "created_at", "deleting"},
        strict=True,
    )
    db.table("services").create(
        {
            "job_name": str,
            "application": str,
            "wanted": int,
            "asked": str,  # the spec as the descriptor has it: what a re-apply is compared with
            "spec": str,  # the spec with its addresses: what clusters are told
        },
        pk="job_name",
        not_null={"application", "wanted", "asked", "spec"},
        foreign_keys=[("application", "applications", "name")],
        strict=True,
    )
    db.table("instances").create(
        {
            "job_name": str,
            "number": int,
            "wanted": int,
            "phase": str,  # delegation.Phase
            "epoch": int,
            "cluster": str,
            "since": float,
        },
        pk=("job_name", "number"),
        not_null={"wanted", "phase", "epoch", "cluster", "since"},
        foreign_keys=[("job_name", "services", "job_name")],
        strict=True,
    )
    # Without foreign keys: epochs and revisions outlive the service, so that one of the same
    # name never begins again below what workers and clusters have seen.
    db.table("epochs").create(
        {"job_name": str, "number": int, "epoch": int},
        pk=("job_name", "number"),
        not_null={"epoch"},
        strict=True,
    )
    db.table("shares").create(
        {"cluster": str, "job_name": str, "revision": int, "is_open": int},
        pk=("cluster", "job_name"),
        not_null={"revision", "is_open"},
        strict=True,
    )
    db.table("documents").create(  # address leases
        {"name": str, "body": str}, pk="name", not_null={"body"}, strict=True
    )
    db.table("artifacts").create(
        {"sha256": str, "size": int, "uploaded_at": float},
        pk="sha256",
        not_null={"size", "uploaded_at"},
        strict=True,
    )


@migrations()
def timeline(db: Database) -> None:
    """What happened, and why things are where they are."""
    db.table("events").create(
        {
            "id": int,
            "at": float,
            "kind": str,
            "subject": str,
            "message": str,
            "reason": str,
            "cluster": str,
            "event_id": str,  # of a cluster's event: each is stored once
        },
        pk="id",
        not_null={"at", "kind", "subject", "message", "reason", "cluster"},
        strict=True,
    )
    db.table("events").create_index(["event_id"], unique=True)
    db.table("decisions").create(
        {"id": int, "job_name": str, "instance": str, "body": str},
        pk="id",
        not_null={"job_name", "instance", "body"},
        strict=True,
    )
    db.table("decisions").create_index(["job_name", "instance"])
    db.table("sightings").create(
        {"cluster": str, "seen_at": float, "body": str},  # the last ClusterState
        pk="cluster",
        not_null={"seen_at", "body"},
        strict=True,
    )


@migrations()
def pushed_images(db: Database) -> None:
    """Images that were pushed; what they consist of lies with the artifacts."""
    db.table("images").create({"name": str, "body": str}, pk="name", not_null={"body"}, strict=True)


@migrations()
def workers_without_a_host(db: Database) -> None:
    """Those that joined by a token: no host of ours is theirs."""
    db.table("workers").transform(not_null={"host": False})


@migrations()
def replacements(db: Database) -> None:
    """Instances that are to be replaced, one after the other, each by a new one first."""
    db.table("replacements").create(
        {
            "id": int,
            "job_name": str,
            "old": int,  # instance number
            "new": int,  # of its replacement; null: not begun
            "cluster": str,  # where to; empty: anywhere
            "worker": str,
            "since": float,  # when it began; before, when it was asked for
        },
        pk="id",
        not_null={"job_name", "old", "cluster", "worker", "since"},
        foreign_keys=[("job_name", "services", "job_name")],
        strict=True,
    )
    db.table("replacements").create_index(["job_name", "old"], unique=True)
    db.table("halts").create(
        {"job_name": str, "reason": str},  # why the last replacing of a service was given up
        pk="job_name",
        not_null={"reason"},
        foreign_keys=[("job_name", "services", "job_name")],
        strict=True,
    )
