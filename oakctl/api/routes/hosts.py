"""How hosts are reached, whose keys are believed, and commands on them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from oakctl.api import streams
from oakctl.api.routes.access import RootOf
from oakctl.model import wire
from oakctl.model.hosts import HostEnded, HostKey, HostReach, HostRun, HostTrust, KeyPassphrase
from oakctl.orchestration.root.root import Root

router = APIRouter(prefix="/v1", tags=["hosts"])


@router.get("/hosts/{name}/reach")
async def reach(root: RootOf, name: str) -> HostReach:
    """The way to a host; nothing is connected to."""
    return await root.access.reach(name)


@router.get("/hosts/{name}/key")
async def key(root: RootOf, name: str) -> HostKey:
    """What key it shows, or the first machine on the way that is not trusted."""
    return await root.access.key(name)


@router.put("/hosts/{name}/key")
async def trust(root: RootOf, name: str, wanted: HostTrust) -> HostKey:
    """Trust the key that was shown."""
    return await root.access.trust(name, wanted.fingerprint)


@router.put("/key-passphrases")
async def unlock(root: RootOf, given: KeyPassphrase) -> dict[str, bool]:
    """Keep the passphrase of a private key in memory, for what follows."""
    await root.access.unlock(given.file, given.passphrase)
    return {"kept": bool(given.passphrase)}


@router.post("/host-runs", response_class=StreamingResponse)
async def run(root: RootOf, wanted: HostRun) -> StreamingResponse:
    """A command on hosts, as JSON lines; it ends when nobody reads them any more."""
    return streams.response(_lines(root, wanted))


async def _lines(root: Root, wanted: HostRun) -> AsyncIterator[streams.Line]:
    async with aclosing(root.host_runs.run(wanted)) as events:
        async for event in events:
            kind = "ended" if isinstance(event, HostEnded) else "output"
            yield {} if event is None else {kind: wire.to_plain(event)}
