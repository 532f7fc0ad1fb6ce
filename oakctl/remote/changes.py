"""What was changed on a host outside of our own folder, so that it can be put back.

`changes.json` in the prefix has an entry for each playbook that changed something, written before
the change is made. The last role's removal (or the playbook `uninstall` by itself) puts all of it
back, by the function `undo` of each playbook (`playbook` says what that owes). Does not belong
here: what lies in the prefix (`manifest`), how a change is made or put back (`playbooks/`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from shlex import quote
from typing import Any

from oakctl.errors import OakError
from oakctl.remote.step import Remote

Entry = dict[str, Any]


def path(remote: Remote) -> str:
    """The record on the host."""
    return str(remote.layout.prefix / "changes.json")


def read(remote: Remote) -> dict[str, Entry]:
    """Playbook → what it changed; empty where nothing was. Raises OakError when unreadable."""
    return parse(remote.read(path(remote)), path(remote))


def parse(content: bytes | None, where: str) -> dict[str, Entry]:
    """The content of a record; raises OakError when it is none."""
    if content is None:
        return {}
    try:
        found = json.loads(content)["changes"]
        if all(isinstance(entry, dict) for entry in found.values()):
            return dict(found)
        reason = "an entry of it is not an object"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise OakError(
        f"{where} is not ours: {reason}",
        hint="look at it; what it lists was changed on this host by oakctl",
    )


def text(changes: Mapping[str, Entry]) -> bytes:
    """The record with these changes."""
    return (json.dumps({"changes": changes}, indent=1, sort_keys=True) + "\n").encode()


def record(remote: Remote, playbook: str, entry: Entry) -> None:
    """Note what `playbook` is about to change; keys of an earlier note that are not here stay."""
    changes = read(remote)
    changes[playbook] = changes.get(playbook, {}) | entry
    remote.put(path(remote), text(changes))


def forget(remote: Remote, playbook: str) -> None:
    """Nothing of `playbook` is left; the record itself goes with its last entry."""
    changes = read(remote)
    changes.pop(playbook, None)
    if changes:
        remote.put(path(remote), text(changes))
    else:
        remote.run(f"rm -f {quote(path(remote))}")
