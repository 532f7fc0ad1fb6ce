"""Where this machine gets Debian from, and what is in its index.

Belongs here: both forms of apt's source lists, the stanzas of an index; all but `own_mirror` is
pure. It needs nothing but Python: `scripts/standalone-python` uses it too. Does not belong here:
what is fetched from there (`image`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from oakctl.errors import OakError

RELEASES = frozenset(
    (
        *("stable", "oldstable", "oldoldstable", "testing", "unstable", "sid"),
        *("bullseye", "bookworm", "trixie", "forky"),
    )
)
_ONE_LINE = re.compile(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)")


def own_mirror(folder: Path = Path("/etc/apt")) -> str:
    """The archive that apt uses on this machine, by the lists in `folder`; raises OakError."""
    lists = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    return mirror(
        file.read_text(errors="replace")
        for file in lists
        if file.suffix in (".list", ".sources") and file.exists()
    )


def mirror(texts: Iterable[str]) -> str:
    """The first archive of Debian's own in these source lists; raises OakError."""
    for text in texts:
        for uri, suites, components in (*_stanzas(text), *_lines(text)):
            # mirror+file: and cdrom: are apt's own ways, which debootstrap doesn't know.
            usable = re.match(r"(https?|file):", uri)
            if usable and "main" in components and RELEASES & {s.split("/")[0] for s in suites}:
                return uri
    raise OakError(
        "apt's sources on this machine name no Debian archive",
        hint="write `mirror: URL` into lab.yaml and give it with -f",
    )


def only(index: str, packages: Collection[str]) -> str:
    """The stanzas of `packages` in an index of packages."""
    kept = [
        stanza.strip("\n")
        for stanza in index.split("\n\n")
        if stanza.strip("\n").partition("\n")[0].removeprefix("Package: ") in packages
    ]
    return "".join(f"{stanza}\n\n" for stanza in kept)


def _lines(text: str) -> Iterator[tuple[str, list[str], list[str]]]:
    for line in text.splitlines():
        found = _ONE_LINE.match(line.strip())
        if found:
            yield found[1], [found[2]], found[3].partition("#")[0].split()


def _stanzas(text: str) -> Iterator[tuple[str, list[str], list[str]]]:
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        for uri in fields.get("uris", "").split():
            yield uri, fields.get("suites", "").split(), fields.get("components", "").split()
