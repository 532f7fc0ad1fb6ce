"""Who may have the app in a browser. Pure.

textual-serve gives it to whoever connects. Here a browser has to show a token, which it has from
the address that its user was given; no page of somebody else's may use that (its Origin is
another), and no foreign name may stand for this server (its Host, against DNS rebinding). Does not
belong here: HTTP (`server`).
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

PARAMETER = "token"


class Verdict(Enum):
    """What a request gets."""

    WELCOME = "welcome"  # go on
    ENTER = "enter"  # the token was in the address: keep it as a cookie, and go on without
    STRANGER = "401"  # without the token
    FOREIGN = "403"


@dataclass(frozen=True)
class Guard:
    """The rule. `names` are host names by which the server is reached, besides addresses."""

    token: str
    cookie: str  # its name: cookies are shared by all ports of a host
    names: frozenset[str] = frozenset({"localhost"})

    def judge(
        self,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        cookies: Mapping[str, str],
        *,
        scheme: str,
    ) -> Verdict:
        """Whether this request is let in. `headers` by any spelling of their names."""
        host = headers.get("Host", "")
        if not self._is_ours(host):
            return Verdict.FOREIGN
        origin = headers.get("Origin", "")
        if origin and origin != f"{scheme}://{host}":
            return Verdict.FOREIGN
        # A WebSocket is let through by browsers from any page: there an Origin has to be.
        if headers.get("Upgrade", "").lower() == "websocket" and not origin:
            return Verdict.FOREIGN
        if self._is_token(query.get(PARAMETER, "")):
            return Verdict.ENTER
        return Verdict.WELCOME if self._is_token(cookies.get(self.cookie, "")) else Verdict.STRANGER

    def _is_ours(self, host: str) -> bool:
        name = host_name(host)
        return name in self.names or is_address(name)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())


def host_name(host: str) -> str:
    """The name in a Host header, without its port, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")


def is_address(name: str) -> bool:
    """Whether this is an IP address: nobody's DNS makes one stand for another."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Whether a server that listens here is heard by this machine alone."""
    return name == "localhost" or (is_address(name) and ipaddress.ip_address(name).is_loopback)
