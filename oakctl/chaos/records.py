"""What is in force on hosts, as they have noted it. Pure, but for scripts as text.

Belongs here: the two scripts that list and end all that is noted on a host, and reading their
answers. Does not belong here: how it came to be noted (`envelope`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from oakctl.chaos.envelope import FOLDER
from oakctl.chaos.faults import Fault
from oakctl.chaos.means import HOME, OURS

# $1 the nonce, $2 where we live; not given: found out. Lines "MARK KIND …".
BEGIN = f"""
mark=$1; prefix=${{2:-$HOME/{HOME}}}
[ -e "$prefix/manifest.json" ] || prefix={OURS}
base=$prefix/{FOLDER}
if [ "$prefix" = {OURS} ] && [ "$(id -u)" != 0 ]; then
    [ ! -d "$prefix" ] || echo "$mark closed"
    echo "$mark end"; exit 0
fi
"""
LIST = """
echo "$mark now $(date +%s) $(cat /proc/sys/kernel/random/boot_id)"
for folder in "$base"/*/; do
    [ -e "$folder/record" ] || continue
    printf '%s fault %s %s %s ' "$mark" "$(basename "$folder")" \
        "$(cat "$folder/since")" "$(cat "$folder/boot")"
    head -n 1 "$folder/record"; echo
done
echo "$mark end"
"""
HEAL = """
for undo in "$base"/*/undo; do
    [ -e "$undo" ] || continue
    folder=${undo%/undo}
    record=$(head -n 1 "$folder/record")
    if sh "$undo" >/dev/null 2>&1; then how=healed; else how=stuck; fi
    printf '%s %s %s %s\\n' "$mark" "$how" "$(basename "$folder")" "$record"
done
echo "$mark end"
"""


@dataclass(frozen=True)
class InForce:
    """A fault that was made and has not ended. Times are seconds since the epoch."""

    node: str  # the host
    fault: str  # "slow edge-w1"
    kind: str
    since: float
    until: float  # 0: until it is healed
    left_s: float  # seconds, by the host's own clock; 0 or less: its end is overdue
    note: str = ""


@dataclass(frozen=True)
class Healed:
    """What ending one fault on a host came to."""

    node: str
    fault: str
    done: bool


def record(fault: Fault, place: str = "") -> str:
    """What is noted of a fault on its host."""
    title = f"{fault.kind.value} {place}" if place else fault.title
    return json.dumps({"fault": title, "kind": fault.kind.value, "for_s": fault.for_s})


def in_force(node: str, lines: Iterable[str], nonce: str) -> list[InForce]:
    """The answer to `LIST`; what cannot be read is told by its folder's name alone."""
    now, boot, found = 0.0, "", []
    for words in _said(lines, nonce):
        if words[0] == "now" and len(words) >= 3:
            now, boot = _number(words[1]), words[2]
        elif words[0] == "fault" and len(words) >= 5:
            found.append(_entry(node, words, now, boot))
    return found


def healed(node: str, lines: Iterable[str], nonce: str) -> list[Healed]:
    """The answer to `HEAL`."""
    return [
        Healed(node, _noted(words[2] if len(words) > 2 else "", words[1])[0], words[0] == "healed")
        for words in (line.split(" ", 2) for line in _rests(lines, nonce))
        if words[0] in ("healed", "stuck") and len(words) > 1
    ]


def is_closed(lines: Iterable[str], nonce: str) -> bool:
    """Whether the superuser alone can look there."""
    return any(words[0] == "closed" for words in _said(lines, nonce))


def is_whole(lines: Iterable[str], nonce: str) -> bool:
    """Whether an answer has come to its end."""
    return any(words[0] == "end" for words in _said(lines, nonce))


def _entry(node: str, words: list[str], now: float, boot: str) -> InForce:
    _, key, since_text, made_in, noted = words[:5]
    title, kind, for_s = _noted(noted, key)
    since = _number(since_text)
    until = since + for_s if for_s else 0.0
    note = ""
    if made_in != boot:
        note = "left by a restart of the host"
    elif until and now > until + 5:
        note = "its end is overdue"
    return InForce(node, title, kind, since, until, until - now if until else 0.0, note)


def _said(lines: Iterable[str], nonce: str) -> list[list[str]]:
    return [rest.split(" ", 4) for rest in _rests(lines, nonce)]


def _rests(lines: Iterable[str], nonce: str) -> list[str]:
    pairs = (line.partition(" ") for line in lines)
    return [rest for mark, _, rest in pairs if mark == nonce and rest]


def _noted(text: str, key: str) -> tuple[str, str, float]:
    """(what, kind, seconds) of a record; a damaged one is known by its folder alone."""
    try:
        data = json.loads(text)
        return str(data["fault"]), str(data["kind"]), float(data["for_s"])
    except (ValueError, KeyError, TypeError):
        return key, key.rpartition("-")[0] or key, 0.0


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
