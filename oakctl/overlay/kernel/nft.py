"""Loading rules and elements: nftables in this process, or its command.

The host's own library is used, because a table written by a newer one crashes older ones that
list it; where there is none, the command, which takes twenty times as long for a small change.
Does not belong here: what is loaded (`ruleset`, `elements`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
from collections.abc import Callable
from typing import Protocol

from oakctl.overlay.kernel.elements import TABLE
from oakctl.overlay.kernel.host import Host

LIBRARY = "libnftables.so.1"
_TERSE = 1 << 11  # NFT_CTX_OUTPUT_TERSE: no elements
_LONGEST = 400  # characters of its complaint that are passed on


class Nft(Protocol):
    """Runs text of nft: every command of it, or none."""

    def run(self, text: str) -> None:
        """Raises OSError in nft's words."""

    def printed(self, text: str) -> str:
        """What it prints. Raises OSError in nft's words."""

    def rules(self) -> str:
        """A digest of our table's rules, without elements; empty where there is no table."""


class InProcess:
    """By the host's library; raises OSError where there is none. Not for several threads."""

    def __init__(self, library: str = LIBRARY) -> None:
        self._library = lib = ctypes.CDLL(library)
        lib.nft_ctx_new.restype = ctypes.c_void_p
        lib.nft_ctx_new.argtypes = [ctypes.c_uint32]
        for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_free"):
            getattr(lib, name).argtypes = [ctypes.c_void_p]
        lib.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        lib.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(lib, name).argtypes = [ctypes.c_void_p]
            getattr(lib, name).restype = ctypes.c_char_p

    def run(self, text: str) -> None:
        """See `Nft`."""
        self._run(text)

    def printed(self, text: str) -> str:
        """See `Nft`."""
        return self._run(text)

    def rules(self) -> str:
        """See `Nft`."""
        return _digest(self._run)

    def _run(self, text: str, flags: int = 0) -> str:
        # A context for each run: an old one remembers tables that others have deleted since.
        lib = self._library
        context = lib.nft_ctx_new(0)
        if not context:
            raise OSError(errno.ENOMEM, "nft: no context")
        try:
            lib.nft_ctx_buffer_output(context)
            lib.nft_ctx_buffer_error(context)
            lib.nft_ctx_output_set_flags(context, flags)
            if lib.nft_run_cmd_from_buffer(context, text.encode()):
                raise _failed(
                    (lib.nft_ctx_get_error_buffer(context) or b"").decode("utf-8", "replace")
                )
            return (lib.nft_ctx_get_output_buffer(context) or b"").decode("utf-8", "replace")
        finally:
            lib.nft_ctx_free(context)


class Command:
    """By the command `nft`."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def run(self, text: str) -> None:
        """See `Nft`."""
        self._run(text)

    def printed(self, text: str) -> str:
        """See `Nft`."""
        return self._run(text)

    def rules(self) -> str:
        """See `Nft`."""
        return _digest(self._run)

    def _run(self, text: str, flags: int = 0) -> str:
        return self._host.run(("nft", *(("-t",) if flags else ()), "-f", "-"), text)


def of_host(host: Host) -> Nft:
    """In this process where the host has the library, else by its command."""
    with contextlib.suppress(OSError):
        return InProcess()
    return Command(host)


def _digest(run: Callable[[str, int], str]) -> str:
    try:
        listed = run(f"list table ip {TABLE}\n", _TERSE)
    except OSError:
        return ""
    return hashlib.sha256(listed.encode()).hexdigest()


def _failed(complaint: str) -> OSError:
    return OSError(errno.EIO, f"nft: {' '.join(complaint.split())[:_LONGEST] or 'no reason given'}")
