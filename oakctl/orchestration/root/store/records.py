"""What is kept to explain and to look up: decisions, artifacts, images, sights of clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlite_utils import Database

from oakctl.model import wire
from oakctl.model.messages import ClusterState
from oakctl.model.views import Decision, ImageView

DECISIONS_PER_INSTANCE = 20


def add_decision(db: Database, job_name: str, decision: Decision) -> bool:
    """Keep a decision; False when it only repeats the last one (whose time is renewed)."""
    rows = list(
        db.execute(
            "SELECT id, body FROM decisions WHERE job_name = ? AND instance = ? ORDER BY id DESC",
            [job_name, decision.instance],
        )
    )
    for id, body in rows:
        earlier = wire.decode(body, Decision)
        if earlier.by != decision.by:
            continue
        if replace(earlier, at=decision.at) == decision:
            db.table("decisions").update(id, {"body": wire.encode(decision).decode()})
            return False
        break
    db.table("decisions").insert(
        {
            "job_name": job_name,
            "instance": decision.instance,
            "body": wire.encode(decision).decode(),
        }
    )
    for id, _ in rows[DECISIONS_PER_INSTANCE - 1 :]:
        db.table("decisions").delete(id)
    return True


def decisions(db: Database, job_name: str) -> Sequence[Decision]:
    """The kept decisions of a service, oldest first."""
    rows = db.execute("SELECT body FROM decisions WHERE job_name = ? ORDER BY id", [job_name])
    return sorted((wire.decode(body, Decision) for (body,) in rows), key=lambda d: d.at)


def forget_decisions(db: Database, job_name: str) -> None:
    """Remove the decisions of a service that is gone."""
    db.execute("DELETE FROM decisions WHERE job_name = ?", [job_name])


def add_artifact(db: Database, sha256: str, size: int, now: float) -> None:
    """Note an artifact whose file is complete and verified."""
    row = {"sha256": sha256, "size": size, "uploaded_at": now}
    db.table("artifacts").upsert(row, pk="sha256")


def artifact_size(db: Database, sha256: str) -> int | None:
    """Its size in bytes; None when it was not uploaded."""
    found = db.execute("SELECT size FROM artifacts WHERE sha256 = ?", [sha256]).fetchone()
    return int(found[0]) if found else None


def artifacts(db: Database) -> set[str]:
    """The sha256 of every artifact."""
    return {sha256 for (sha256,) in db.execute("SELECT sha256 FROM artifacts")}


def forget_artifact(db: Database, sha256: str) -> None:
    """Its file is about to go."""
    db.execute("DELETE FROM artifacts WHERE sha256 = ?", [sha256])


def put_image(db: Database, image: ImageView) -> None:
    """Keep a pushed image under its name, instead of one that had it before."""
    row = {"name": image.name, "body": wire.encode(image).decode()}
    db.table("images").upsert(row, pk="name")


def images(db: Database) -> Sequence[ImageView]:
    """Every pushed image, by name."""
    rows = db.execute("SELECT body FROM images ORDER BY name")
    return [wire.decode(body, ImageView) for (body,) in rows]


def forget_image(db: Database, name: str) -> None:
    """Take its name away."""
    db.execute("DELETE FROM images WHERE name = ?", [name])


def put_sighting(db: Database, state: ClusterState, seen_at: float) -> None:
    """Keep the last a cluster said, so that a restarted root can show it with its age."""
    db.table("sightings").upsert(
        {"cluster": state.cluster, "seen_at": seen_at, "body": wire.encode(state).decode()},
        pk="cluster",
    )


def sightings(db: Database) -> Sequence[tuple[float, ClusterState]]:
    """The last word of each cluster, with its time."""
    rows = db.execute("SELECT seen_at, body FROM sightings")
    return [(seen_at, wire.decode(body, ClusterState)) for seen_at, body in rows]
