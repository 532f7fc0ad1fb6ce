"""The service addresses that are given out, and those that rest."""

from __future__ import annotations

import secrets

from sqlite_utils import Database

from oakctl.model import wire
from oakctl.overlay import addressing

NAME = "service-addresses"
STARTS = 32768  # half of the network is left from the last on


def leases(db: Database) -> addressing.Leases:
    """Who has which service address."""
    found = db.execute("SELECT body FROM documents WHERE name = ?", [NAME]).fetchone()
    if found is None:
        # Roots of several operators may meet in one cluster: from a start of its own each rarely
        # leases what another has.
        return addressing.service_addresses(secrets.randbelow(STARTS))
    return wire.decode(found[0], addressing.Leases)


def put_leases(db: Database, leases: addressing.Leases) -> None:
    """Store them whole."""
    body = wire.encode(leases).decode()
    db.table("documents").upsert({"name": NAME, "body": body}, pk="name")
