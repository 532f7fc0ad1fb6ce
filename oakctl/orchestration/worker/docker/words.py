"""Docker's errors, for people. Pure.

Belongs here: what an error means and, where there is one, what to do. Does not belong here: what
it leads to. What is not known here stays as Docker said it, on one line.
"""

from __future__ import annotations

import re

from oakctl.model import secrets
from oakctl.model.secrets import SecretValue

LONGEST = 300
OLDEST_API = (1, 40)  # of Docker 19.03: the first that hands in GPUs

NO_PLATFORM = r"no matching manifest for (\S+)"
PRIVATE = "the registry refuses it: it is private, or is not there"
_MEANINGS: tuple[tuple[str, str], ...] = (
    (r"Bind for \S*?:(\d+) failed: port is already allocated", "port {0} of this node is taken"),
    (r"listen (?:tcp|udp)\d? \S*?:(\d+): bind: address already in use",
     "port {0} of this node is taken by a program that is not ours"),
    (r"cannot assign requested address", "this node has not the address to publish ports on"),
    (r"no space left on device", "no space left on this node"),
    (NO_PLATFORM, "there is none for {0}, which this node is"),
    (r"manifest for \S+ not found|manifest unknown|name unknown",
     "the registry has no such image"),
    (r"toomanyrequests|429 Too Many", "the registry allows no more pulls for now"),
    (r"pull access denied|unauthorized|authentication required|no basic auth credentials|"
     r"access to the resource is denied|incorrect username or password",
     PRIVATE),
    (r"no such host|name resolution|server misbehaving",
     "the registry's name is not found from this node"),
    (r"x509: (.*)", "the registry's certificate is not trusted: {0}"),
    (r"connection refused|i/o timeout|TLS handshake timeout|deadline exceeded|"
     r"network is unreachable|no route to host|Client.Timeout",
     "the registry is not reached from this node"),
    (r'exec: "([^"]*)": (?:executable file not found|stat \S+: no such file)',
     "cannot run {0}: it is not in the image"),
    (r'exec: "([^"]*)": permission denied', "cannot run {0}: it is no program"),
    (r"exec format error", "cannot run it: the image is for another architecture"),
    (r"[Nn]o command specified", "the image names no program to run: give `cmd`"),
    (r'could not select device driver "?(?:nvidia)?"? with capabilities: \[\[gpu',
     "Docker here can't hand in a GPU: install the NVIDIA container toolkit"),
    (r"[Uu]nknown runtime specified (\S+)|unknown or invalid runtime name: (\S+)",
     "Docker here has no runtime {0}"),
    (r"bind source path does not exist: (\S+)", "{0} is not there on this node"),
    (r'error gathering device information while adding custom device "([^"]+)"',
     "{0} is not there on this node"),
    (r"Minimum memory limit allowed is (\S+)", "its memory limit is below Docker's least, {0}"),
    (r"invalid reference format|invalid repository name", "that is not the name of an image"),
)  # fmt: skip


def in_words(text: str) -> str:
    """What Docker's error means."""
    for pattern, meaning in _MEANINGS:
        found = re.search(pattern, text)
        if found:
            # Of alternatives one has matched; what it matched may be empty (`cmd: [""]`).
            named = (group for group in found.groups() if group is not None)
            return meaning.format(*(name or "an empty name" for name in named))
    return " ".join(text.split())[:LONGEST]


def says_no_platform(text: str) -> bool:
    """Whether Docker's error is that a registry has an image for other platforms alone."""
    return re.search(NO_PLATFORM, text) is not None


def of_pull(text: str, reference: str, login: SecretValue | None) -> str:
    """What Docker's error at a pull means, and for a refusal what to do."""
    meaning = in_words(text)
    if meaning != PRIVATE:
        return meaning
    host = secrets.registry_of(reference)
    if login is not None:
        return f"{meaning}; the login was {login.username}, of secret {login.name}"
    return f"{meaning} (oakctl secret set NAME --registry {host} --username USER)"


def no_connection(socket: str, error: BaseException) -> str:
    """Why the socket leads nowhere."""
    text = f"{type(error).__name__} {error}"
    if "Permission denied" in text or "EACCES" in text:
        return f"Docker's socket {socket} is forbidden to the agent: its user is not in its group"
    if "Connection refused" in text:
        return f"Docker is stopped: nobody listens at {socket}"
    if "No such file" in text or "FileNotFoundError" in text:
        return f"Docker is stopped: {socket} is not there"
    if re.search("reset by peer|RemoteDisconnected|IncompleteRead|broken pipe", text, re.I):
        return f"Docker at {socket} broke the connection off"
    if "timed out" in text.lower():
        return f"Docker does not answer at {socket}"
    return f"Docker at {socket}: {' '.join(str(error).split())[:LONGEST]}"


def too_old(version: str, api: str) -> str:
    """Why this engine cannot be used; empty: it can."""
    parts = [int(part) for part in api.split(".") if part.isdigit()]
    if tuple(parts) >= OLDEST_API:
        return ""
    oldest = ".".join(str(part) for part in OLDEST_API)
    return f"Docker {version} is too old: it has API {api}, {oldest} (Docker 19.03) is the oldest"
