"""The service addresses that are given out, and those that rest."""

from __future__ import annotations

from sqlite_utils import Database

from oakctl.model import wire
from oakctl.overlay import addressing

NAME = "service-addresses"


def leases(db: Database) -> addressing.Leases:
    """Who has which service address."""
    found = db.execute("SELECT body FROM documents WHERE name = ?", [NAME]).fetchone()
    if found is None:
        return addressing.service_addresses()
    return wire.decode(found[0], addressing.Leases)


def put_leases(db: Database, leases: addressing.Leases) -> None:
    """Store them whole."""
    body = wire.encode(leases).decode()
    db.table("documents").upsert({"name": NAME, "body": body}, pk="name")
