"""The cluster's state in JetStream key-value buckets: loaded at start, written before any answer.

Belongs here: which record lies under which key, what differs between two states, in which order
it is written, and that a write goes on until it is durable. Does not belong here: what the
records mean (`state`).

Keys (bytes that a key can't have are written =XX):
    settings   settings, root.<granted root>, peer.<other cluster>
    leases     subnets, worker.<worker>
    workers    <worker>
    instances  <job name>.<number>
    shares     share.<job name>, table.<other cluster>.<job name>
    events     <number, 20 digits>
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KV_DEL, KV_OP, KeyValue

from oakctl.model import subjects, wire
from oakctl.model.documents import ServiceTable
from oakctl.orchestration.cluster.state import (
    NO_SHARE,
    InstanceRecord,
    PeerRecord,
    RootRecord,
    ServiceRecord,
    SettingsRecord,
    State,
    WorkerRecord,
)
from oakctl.overlay.addressing import Leases

T = TypeVar("T")
log = logging.getLogger("oakctl.cluster.store")

# In this order: what an instance needs is there before the instance, and a share's revision is
# in force only when its instances are. An event goes first: twice is better than never.
BUCKETS = (
    subjects.BUCKET_EVENTS,
    subjects.BUCKET_SETTINGS,
    subjects.BUCKET_LEASES,
    subjects.BUCKET_WORKERS,
    subjects.BUCKET_INSTANCES,
    subjects.BUCKET_SHARES,
)
# Events are known to the root by their ids: one that comes back does no harm, and a marker for
# each would be in the way.
FORGETFUL = (subjects.BUCKET_EVENTS,)
MARKER_TTL_S = 86400.0  # by then the server has long written down what is no longer there
WRITE_TIMEOUT_S = 5.0
RETRY_S = 0.25
AT_ONCE = 64  # writes under way

_NOT_NOW = (NatsError, OSError, asyncio.TimeoutError, asyncio.CancelledError)
_NOT_IN_A_KEY = re.compile(r"[^-_.a-zA-Z0-9]")
_ROOT, _PEER = "root.", "peer."
_SETTINGS, _SUBNETS, _WORKER, _SHARE, _TABLE = "settings", "subnets", "worker.", "share.", "table."


@dataclass(frozen=True)
class Write:
    """One key set, or removed when `value` is None."""

    bucket: str
    key: str
    value: bytes | None


Contents = Mapping[str, Mapping[str, bytes]]  # bucket → key → value


def key(text: str) -> str:
    """`text` with only what a key may contain."""
    return _NOT_IN_A_KEY.sub(lambda m: "".join(f"={b:02X}" for b in m[0].encode()), text)


def records(state: State) -> dict[tuple[str, str], Any]:
    """Every record of a state by bucket and key."""
    found: dict[tuple[str, str], Any] = {
        (subjects.BUCKET_SETTINGS, _SETTINGS): state.settings,
        (subjects.BUCKET_LEASES, _SUBNETS): state.subnets,
    }
    for name, root in state.roots.items():
        found[subjects.BUCKET_SETTINGS, _ROOT + key(name)] = root
    for name, peer in state.peers.items():
        found[subjects.BUCKET_SETTINGS, _PEER + key(name)] = peer
    for worker, leases in state.addresses.items():
        found[subjects.BUCKET_LEASES, _WORKER + key(worker)] = leases
    for name, record in state.workers.items():
        found[subjects.BUCKET_WORKERS, key(name)] = record
    for (job_name, number), instance in state.instances.items():
        found[subjects.BUCKET_INSTANCES, f"{key(job_name)}.{number}"] = instance
    for job_name, service in state.services.items():
        found[subjects.BUCKET_SHARES, _SHARE + key(job_name)] = service
    for (job_name, cluster), table in state.foreign.items():
        found[subjects.BUCKET_SHARES, f"{_TABLE}{key(cluster)}.{key(job_name)}"] = table
    return found


def difference(before: State, after: State) -> tuple[Write, ...]:
    """What has to be written, so that what is stored as `before` is `after`."""
    if before is after:
        return ()
    old, new = records(before), records(after)
    changed = [
        Write(bucket, name, wire.encode(record))
        for (bucket, name), record in new.items()
        if old.get((bucket, name)) is not record and old.get((bucket, name)) != record
    ]
    removed = [Write(bucket, name, None) for bucket, name in old if (bucket, name) not in new]
    return tuple(changed + removed)


def restored(contents: Contents, empty: State) -> State:
    """The state that was stored; `empty` gives what a new cluster begins with.

    What only a crash between two writes can leave behind is taken away: it was never
    acknowledged. Raises wire.Malformed for what is no record of ours.
    """
    state = replace(
        empty,
        settings=_one(contents, subjects.BUCKET_SETTINGS, _SETTINGS, SettingsRecord)
        or empty.settings,
        subnets=_one(contents, subjects.BUCKET_LEASES, _SUBNETS, Leases) or empty.subnets,
        roots={r.name: r for r in _all(contents, subjects.BUCKET_SETTINGS, _ROOT, RootRecord)},
        peers={p.cluster: p for p in _all(contents, subjects.BUCKET_SETTINGS, _PEER, PeerRecord)},
        workers={w.name: w for w in _all(contents, subjects.BUCKET_WORKERS, "", WorkerRecord)},
        services={
            s.job_name: s for s in _all(contents, subjects.BUCKET_SHARES, _SHARE, ServiceRecord)
        },
        instances={i.key: i for i in _all(contents, subjects.BUCKET_INSTANCES, "", InstanceRecord)},
        foreign={
            (t.job_name, t.cluster): t
            for t in _all(contents, subjects.BUCKET_SHARES, _TABLE, ServiceTable)
        },
    )
    leases = contents.get(subjects.BUCKET_LEASES, {})
    addresses = {
        worker: wire.decode(leases[name], Leases)
        for worker in state.workers
        if (name := _WORKER + key(worker)) in leases
    }
    return _whole(replace(state, addresses=addresses))


def _whole(state: State) -> State:
    instances = {
        k: record
        for k, record in state.instances.items()
        if (record.job_name in state.services and (record.stopping or state.spec(record.job_name)))
        and (not record.worker or record.worker in state.workers)
    }
    used = {job_name for job_name, _ in instances}
    services = {
        name: service
        for name, service in state.services.items()
        if service.revision != NO_SHARE or name in used
    }
    return replace(state, instances=instances, services=services)


def _one(contents: Contents, bucket: str, name: str, kind: type[T]) -> T | None:
    body = contents.get(bucket, {}).get(name)
    return None if body is None else wire.decode(body, kind)


def _all(contents: Contents, bucket: str, prefix: str, kind: type[T]) -> Iterable[T]:
    for name, body in contents.get(bucket, {}).items():
        if name.startswith(prefix):
            yield wire.decode(body, kind)


class IncompleteRead(NatsError):
    """The bus names fewer records than it says it has."""


class Store:
    """The buckets, over the orchestrator's connection."""

    def __init__(self, client: Client) -> None:
        self._js: JetStreamContext = client.jetstream(timeout=WRITE_TIMEOUT_S)
        self._buckets: dict[str, KeyValue] = {}
        self._interrupted = asyncio.Event()

    async def open(self) -> None:
        """Make the buckets where they are missing; raises NatsError when JetStream is not up."""
        for name in BUCKETS:
            config = KeyValueConfig(bucket=name, history=1, storage=StorageType.FILE)
            self._buckets[name] = await self._js.create_key_value(config)

    async def read(self) -> dict[str, dict[str, bytes]]:
        """Everything that is stored; raises NatsError or TimeoutError when not all can be had."""
        return {name: await self._read(name, bucket) for name, bucket in self._buckets.items()}

    async def write(self, writes: Sequence[Write]) -> None:
        """Returns when all of it is durable, and tries for ever until then.

        A write that timed out may have been done; so what was once decided is carried out,
        and nobody is answered before it is.
        """
        for bucket in BUCKETS:
            await self._until_done([w for w in writes if w.bucket == bucket])

    def interrupt(self) -> None:
        """The bus was away: what is under way will not be answered, so it is sent again."""
        self._interrupted.set()

    async def _until_done(self, writes: Sequence[Write]) -> None:
        left = list(writes)
        while left:
            now, left = left[:AT_ONCE], left[AT_ONCE:]
            failed = await self._failures(now)
            if failed:
                left = failed + left
                await asyncio.sleep(RETRY_S)

    async def _failures(self, writes: Sequence[Write]) -> list[Write]:
        """Write all at once; those that may not be durable."""
        self._interrupted.clear()
        loop = asyncio.get_running_loop()
        interruption = loop.create_task(self._interrupted.wait())
        tasks = {loop.create_task(self._do(write)): write for write in writes}
        waiting: set[asyncio.Task[Any]] = set(tasks)
        try:
            while waiting and not interruption.done():
                done, _ = await asyncio.wait(
                    {*waiting, interruption}, return_when=asyncio.FIRST_COMPLETED
                )
                waiting -= done
        finally:
            for task in (*tasks, interruption):
                task.cancel()
            outcomes = await asyncio.gather(*tasks, interruption, return_exceptions=True)
        failed = []
        for write, outcome in zip(writes, outcomes, strict=False):
            if isinstance(outcome, _NOT_NOW):
                failed.append(write)
                log.warning("%s/%s is not durable yet: %r", write.bucket, write.key, outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
        return failed

    async def _do(self, write: Write) -> None:
        bucket = self._buckets[write.bucket]
        if write.value is not None:
            await bucket.put(write.key, write.value)
            return
        subject = f"$KV.{write.bucket}.{write.key}"
        if write.bucket in FORGETFUL:
            await self._js.purge_stream(f"KV_{write.bucket}", subject=subject)
        else:
            # A purge does not survive a SIGKILL of the server: what was purged comes back. A
            # delete marker is a message like any other.
            headers = {KV_OP: KV_DEL}
            await self._js.publish(subject, b"", headers=headers, msg_ttl=MARKER_TTL_S)

    async def _read(self, name: str, bucket: KeyValue) -> dict[str, bytes]:
        # Not a watch: nats-py may say "that was all" while messages are still on their way
        # (it takes what was delivered and not yet handled for nothing at all), and a state
        # with records missing would stop instances.
        prefix = f"$KV.{name}."
        info = await self._js.stream_info(f"KV_{name}", subjects_filter=prefix + ">")
        subjects_there = info.state.subjects or {}
        if sum(subjects_there.values()) != info.state.messages:
            raise IncompleteRead(f"{name}: {info.state.messages} records, not all are named")
        keys = [subject[len(prefix) :] for subject in subjects_there]
        found: dict[str, bytes] = {}
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            values = await asyncio.gather(*(_value(bucket, one) for one in some))
            found.update({k: v for k, v in zip(some, values, strict=True) if v is not None})
        return found


async def _value(bucket: KeyValue, name: str) -> bytes | None:
    try:
        return (await bucket.get(name)).value or b""
    except KeyNotFoundError:
        return None  # its delete marker
