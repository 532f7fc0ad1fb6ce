"""The words of a pair of nodes, as the first bytes of an ICMP echo's payload. Pure.

The other node's kernel answers the echo whether or not its agent is there; its agent reads along.
Firewalls that ask for no more than the usual let echoes pass. Does not belong here: what a word
means (`paths`), sending (`pathfinder`).
"""

from __future__ import annotations

import struct

from oakctl.model.overlay import DECLARED, LAN, SEEN
from oakctl.overlay.kernel.paths import Phase, Word

_KINDS = ("", LAN, DECLARED, SEEN)
_MARK, _VERSION = b"oakp", 1
_FORM = struct.Struct("!4sBBBBQ")  # mark, version, phase, kind, flags, attempt
_PROVEN, _WANTS = 1, 2
MOST = 1 << 63  # an attempt beyond is nobody's: the next one could not be counted


def encoded(word: Word) -> bytes:
    """The bytes of a word."""
    flags = (_PROVEN if word.proven else 0) | (_WANTS if word.wants else 0)
    kind = _KINDS.index(word.kind)
    return _FORM.pack(_MARK, _VERSION, word.phase.value, kind, flags, word.attempt)


def decoded(payload: bytes) -> Word | None:
    """The word that a payload begins with; None where there is none that is understood."""
    if len(payload) < _FORM.size:
        return None
    mark, version, phase, kind, flags, attempt = _FORM.unpack_from(payload)
    if (mark, version) != (_MARK, _VERSION) or kind >= len(_KINDS) or attempt > MOST:
        return None
    if phase not in (each.value for each in Phase):
        return None
    return Word(Phase(phase), attempt, _KINDS[kind], bool(flags & _PROVEN), bool(flags & _WANTS))
