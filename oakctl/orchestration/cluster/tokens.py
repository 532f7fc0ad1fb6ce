"""Tokens of this cluster: kept in a file of mode 0600, and whether one is taken.

Belongs here: the rules (pure), and the file. Does not belong here: messages, bus users and the
worker that comes of it (`token_desk`). As for secrets it is a file of ours and no bucket, for what
nats-server stores is not ours to take away for sure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from oakctl.errors import Conflict, OakError
from oakctl.model import wire
from oakctl.model.tokens import (
    GOOD_FOR_S,
    LATE,
    OPEN,
    REVOKED,
    USED,
    TokenOrder,
    TokenSummary,
)
from oakctl.orchestration.cluster.bus_server import write_private

REMEMBERED_S = 86400.0  # after its end, so that whoever comes late is told why
MOST = 100  # tokens that are kept, ended ones too
LONGEST_MACHINE = 60  # characters


@dataclass(frozen=True)
class Token:
    """One token. `worker_secret` is emptied when the worker has it, or nobody can get it."""

    id: str
    worker: str
    bcrypt_hash: str = field(repr=False)
    worker_hash: str = field(repr=False)
    worker_secret: str = field(repr=False)
    made_at: float = 0.0
    until: float = 0.0
    used_at: float = 0.0
    claim: str = ""  # sha256 of the claim that came first
    machine: str = ""
    revoked: str = ""  # why

    def state(self, now: float) -> str:
        """open, used, late, revoked."""
        if self.revoked:
            return REVOKED
        if self.used_at:
            return USED
        return OPEN if now < self.until else LATE


@dataclass(frozen=True)
class TokensFile:
    """What is in the file."""

    tokens: tuple[Token, ...] = field(default=(), repr=False)


def made(order: TokenOrder, now: float) -> Token:
    """The token, from now on."""
    return Token(
        order.id, order.worker, order.bcrypt_hash, order.worker_hash, order.worker_secret,
        made_at=now, until=now + GOOD_FOR_S,
    )  # fmt: skip


def refusal(token: Token, claim: str, now: float) -> str:
    """Why this claim is not answered with the worker's credential; empty: it is."""
    if token.revoked:
        return f"the token for worker {token.worker} was revoked: {token.revoked}"
    if token.used_at:
        if digest(claim) == token.claim:
            return ""
        by = f" by a machine that calls itself {token.machine}" if token.machine else ""
        return (
            f"the token for worker {token.worker} was used already, at {_time(token.used_at)}{by}: "
            "it is good for one machine"
        )
    if now >= token.until:
        return (
            f"the token for worker {token.worker} is too late: it was good until "
            f"{_time(token.until)}, and the cluster's clock says {_time(now)}"
        )
    return ""


def used(token: Token, claim: str, machine: str, now: float) -> Token:
    """The token after a claim that was not refused; that of the same machine changes nothing."""
    if token.used_at:
        return token
    shown = "".join(c for c in machine if c.isprintable())[:LONGEST_MACHINE]
    return replace(token, used_at=now, claim=digest(claim), machine=shown)


def tidied(token: Token, has_joined: bool, now: float) -> Token | None:
    """What is left of a token as time passes; None: nothing."""
    end = token.used_at or token.until
    if now >= end + REMEMBERED_S:
        return None
    over = now >= end + (GOOD_FOR_S if token.used_at else 0)
    if token.worker_secret and (over or token.revoked or (token.used_at and has_joined)):
        return replace(token, worker_secret="")
    return token


def digest(claim: str) -> str:
    """What is kept of a claim."""
    return hashlib.sha256(claim.encode()).hexdigest()


def summary(token: Token, now: float) -> TokenSummary:
    """What the owner's root is told."""
    return TokenSummary(
        token.id, token.worker, token.state(now), token.until, token.used_at, token.machine
    )


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


class Tokens:
    """All tokens of this cluster; each change is durable when the call returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: Mapping[str, Token] = {one.id: one for one in _read(path)}

    @property
    def all(self) -> tuple[Token, ...]:
        """Every token that is remembered."""
        return tuple(self._kept.values())

    def summaries(self, now: float) -> tuple[TokenSummary, ...]:
        """What the owner's root is told of each."""
        return tuple(summary(token, now) for token in self.all)

    def get(self, id: str) -> Token | None:
        """One token."""
        return self._kept.get(id)

    def put(self, token: Token) -> None:
        """Keep a token, new or changed; raises Conflict when there are too many, OakError."""
        if token.id not in self._kept and len(self._kept) >= MOST:
            raise Conflict(f"this cluster remembers {MOST} tokens of the last day, and no more")
        self._keep({**self._kept, token.id: token})

    def drop(self, id: str) -> None:
        """Forget a token; raises OakError."""
        self._keep({key: token for key, token in self._kept.items() if key != id})

    def _keep(self, tokens: Mapping[str, Token]) -> None:
        if tokens == self._kept:
            return
        try:
            write_private(str(self._path), wire.encode(TokensFile(tuple(tokens.values()))).decode())
        except OSError as error:
            raise OakError(f"a token can't be stored here: {error.strerror}") from error
        self._kept = tokens


def _read(path: Path) -> tuple[Token, ...]:
    try:
        return wire.decode(path.read_bytes(), TokensFile).tokens
    except FileNotFoundError:
        return ()
    except (OSError, wire.Malformed) as error:
        raise OakError(f"{path} does not hold tokens: {error}", hint=f"remove {path}") from error
