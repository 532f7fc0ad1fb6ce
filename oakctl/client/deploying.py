"""Giving the root what a descriptor names: folders and files, packed and uploaded once.

Belongs here: the way from references to digests. Does not belong here: packing itself
(`client.artifact`, `client.files`), the descriptor's rules (`oakctl.sla`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from oakctl import paths
from oakctl.client import artifact, files
from oakctl.client.root import RootClient
from oakctl.sla import Checked


async def uploaded(
    client: RootClient, checked: Checked, base: Path, told: Callable[[str], None]
) -> dict[str, str]:
    """What each artifact reference of the descriptor became: reference → sha256.

    Relative ones lie below `base`; `told` hears of each with its size.
    """
    if not checked.artifact_references():
        return {}
    cache = paths.cache_directory() / "artifacts"
    found = {}
    plain = checked.file_references()
    for reference in checked.artifact_references():
        if reference in plain:
            path = await asyncio.to_thread(files.pack, reference, base, cache)
        else:
            path = (await asyncio.to_thread(artifact.resolve, reference, base, cache)).path
        size = path.stat().st_size
        shown = f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{-(-size // 1024)} KiB"
        told(f"{reference}: {shown}")
        found[reference] = await client.upload_artifact(path)
    return found
