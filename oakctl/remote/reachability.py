"""Whether hosts reach the place where a bus is going to listen: tried, before one is there.

A small process listens on the orchestrator's host for as long as our channel to it is open, and
at most some seconds; each worker's host connects to it, all at the same time. Where a bus listens
there already, that one answers. Nothing is installed or written. Does not belong here: what the
tries mean (`reach_rules`).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
from collections.abc import AsyncIterator, Sequence

import asyncssh

from oakctl.errors import OakError
from oakctl.model.config import BUS_PORT
from oakctl.model.views import HostFinding
from oakctl.remote import reach_rules, shells, tunnel
from oakctl.remote.facts import HostFacts
from oakctl.remote.reach_rules import Aim, Attempt
from oakctl.remote.target import Target

TRY_S = 5  # seconds for one connection of one host
LISTEN_S = 60  # at most, whatever becomes of us
ANSWER_S = 20.0  # until a host has begun to listen
TRIES_S = 45.0  # for all tries of one host, its login included
MOST_ADDRESSES = 4
MOST_ANSWER = 65536  # bytes of one host's answer
MOST_AT_ONCE = 20  # connections of ours

PYTHONS = "python3 /usr/bin/python3 /usr/local/bin/python3 python"

# Any Python, 2.7 too: that the host has one which is good enough is another question.
LISTEN = r"""
import os, select, socket, sys, time
address, port, seconds, mark, proof = sys.argv[1:]
def say(word, text=""):
    text = " ".join(str(text).split())
    sys.stdout.write("%s %s %s\n" % (mark, word, text)); sys.stdout.flush()
def other():
    try:
        near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
        known = socket.create_connection((near, int(port)), 3)
        known.settimeout(3)
        return known.recv(4096).decode("utf-8", "replace")
    except Exception:
        return ""
def bound():
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if address == "::":
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind((address, int(port)))
    server.listen(64)
    return server
try:
    server = bound()
except Exception as error:
    say("taken", other() or error)
    sys.exit(0)
say("listening")
end = time.time() + float(seconds)
while time.time() < end:
    ready = select.select([server, 0], [], [], 1)[0]
    if 0 in ready and not os.read(0, 64):
        break
    if server in ready:
        client = server.accept()[0]
        try:
            client.settimeout(2)
            client.sendall((proof + "\n").encode())
        except Exception:
            pass
        client.close()
"""

CONNECT = r"""
import socket, sys, threading
seconds, mark = float(sys.argv[1]), sys.argv[2]
def attempt(address, port):
    try:
        known = socket.create_connection((address, int(port)), seconds)
    except Exception as error:
        return "fault", getattr(error, "strerror", "") or error
    try:
        known.settimeout(seconds)
        return "said", known.recv(1024).decode("utf-8", "replace")
    except Exception as error:
        return "said", ""
    finally:
        known.close()
def report(place):
    address, port = place.rsplit("/", 1)
    word, text = attempt(address, port)
    line = "\t".join([mark, address, port, word, " ".join(str(text).split())])
    sys.stdout.write(line + "\n")
threads = [threading.Thread(target=report, args=(place,)) for place in sys.argv[3:]]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""

WITHOUT_PYTHON = r"""
LC_ALL=C; export LC_ALL
seconds=$1; mark=$2; shift 2
have() { command -v "$1" >/dev/null 2>&1; }
limit=; have timeout && limit="timeout $seconds"
one() {
    if have bash; then
        $limit bash -c 'exec 3<>"/dev/tcp/$1/$2" || exit 1; echo connected; head -n 1 <&3' - "$@"
    elif have nc; then sleep 3 | $limit nc -w "$seconds" "$@" | head -n 1
    else echo "there is neither Python nor bash nor nc"; return 1
    fi
}
for place in "$@"; do
    said=$(one "${place%/*}" "${place##*/}" 2>&1)
    code=$?
    said=$(printf '%s' "$said" | tr '\t\r\n' '   ')
    word=fault
    case "$code:$said" in
    *:connected*) word=said; said=${said#connected} ;;
    0:?*) word=said ;;
    124:*|143:*) said="timed out" ;;
    esac
    printf '%s\t%s\t%s\t%s\t%s\n' "$mark" "${place%/*}" "${place##*/}" "$word" "$said"
done
"""


async def check_reachability(
    targets: Sequence[Target],
    orchestrator: Target,
    addresses: Sequence[str] = (),
    port: int = BUS_PORT,
    *,
    listen_on: str = "",
    facts: HostFacts | None = None,
) -> list[HostFinding]:
    """Whether each of `targets` will reach a bus on `orchestrator`; one finding for each that
    will not, or of which it could not be found out, none for the others.

    `addresses` are those of the orchestrator's host: the first (default: where we reach it) is
    the one that its workers will be given, further ones are tried to name a way out. `listen_on`
    is the only address that a bus may listen on there (a lab's hosts), `facts` those of the
    orchestrator's host, for better remedies. A host that we do not reach is a note; nothing is
    raised for one.
    """
    places = tuple(dict.fromkeys(addresses or (orchestrator.address,)))[:MOST_ADDRESSES]
    proof = f"oakctl-{secrets.token_hex(8)}"
    aim = Aim(orchestrator.name, places[0], port, orchestrator.port, facts=facts)
    gate = asyncio.Semaphore(MOST_AT_ONCE)

    async def tried(target: Target) -> Sequence[Attempt] | str:
        async with gate:
            return await _tries(target, [*_places(places, port), f"{places[0]}/{aim.ssh_port}"])

    where = listen_on or _every_address(places[0], facts)
    async with _listener(orchestrator, where, port, proof) as (answer, why):
        answers = await asyncio.gather(*(tried(target) for target in targets))
    known = Aim(aim.host, aim.address, port, aim.ssh_port, answer, why, facts)
    return reach_rules.judge(known, {t.name: a for t, a in zip(targets, answers, strict=True)})


def _every_address(address: str, facts: HostFacts | None) -> str:
    """All that the host has, as a bus there would listen on them."""
    return "::" if ":" in address else facts.every_address if facts is not None else "0.0.0.0"


def _places(addresses: Sequence[str], port: int) -> list[str]:
    return [f"{address}/{port}" for address in addresses]


@contextlib.asynccontextmanager
async def _listener(
    target: Target, address: str, port: int, proof: str
) -> AsyncIterator[tuple[str, str]]:
    """What a connection to the port is answered with meanwhile; or nothing, and why nothing is."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(tunnel.connect(target))
            found = await _listening(stack, connection, address, port, proof)
        except (OakError, asyncssh.Error, OSError) as error:
            found = "", error.message if isinstance(error, OakError) else str(error)
        yield found


async def _listening(
    stack: contextlib.AsyncExitStack,
    connection: asyncssh.SSHClientConnection,
    address: str,
    port: int,
    proof: str,
) -> tuple[str, str]:
    mark = secrets.token_hex(8)
    words = shlex.join([address, str(port), str(LISTEN_S), mark, proof])
    script = (
        f"for p in {PYTHONS}; do command -v $p >/dev/null 2>&1 && "
        f"exec $p -c {shlex.quote(LISTEN)} {words}; done; echo {mark} none"
    )
    # Its standard input stays open for as long as it shall listen.
    process = await connection.create_process(shells.sh(script), encoding=None)
    stack.callback(process.close)
    word, said = await _word(process, mark)
    if word == "listening":
        return proof, ""
    if word == "taken" and said.startswith("INFO ") and (name := _bus_name(said)):
        return name, ""
    reasons = {
        "taken": f"its port {port} is in use",
        "none": "there is no Python there that could listen for a moment",
    }
    return "", reasons.get(word, f"it did not begin to listen within {ANSWER_S:.0f} s")


def _bus_name(greeting: str) -> str:
    """What a bus's greeting has that no other's has; empty where it is not one."""
    _, key, rest = greeting.partition('"server_id":"')
    return rest.partition('"')[0] if key else ""


async def _word(process: asyncssh.SSHClientProcess[bytes], mark: str) -> tuple[str, str]:
    """The word behind the mark and what follows it, whatever a login shell says before."""
    text = b""
    with contextlib.suppress(asyncio.TimeoutError):
        while mark.encode() not in text or not text.partition(mark.encode())[2].endswith(b"\n"):
            piece = await asyncio.wait_for(process.stdout.read(4096), ANSWER_S)
            if not piece or len(text) > MOST_ANSWER:
                break
            text += piece
    answer = text.decode(errors="replace").partition(mark)[2].strip()
    word, _, said = answer.partition(" ")
    return word, said


async def _tries(target: Target, places: Sequence[str]) -> Sequence[Attempt] | str:
    """What became of each place ("address/port"); or why this host could not try."""
    mark = secrets.token_hex(8)
    words = shlex.join([str(TRY_S), mark, *places])
    script = (
        f"for p in {PYTHONS}; do command -v $p >/dev/null 2>&1 && "
        f"exec $p -c {shlex.quote(CONNECT)} {words}; done; "
        f"exec sh -c {shlex.quote(WITHOUT_PYTHON)} - {words}"
    )
    try:
        answer = await asyncio.wait_for(_run(target, script), TRIES_S)
    except asyncio.TimeoutError:
        return f"it did not answer within {TRIES_S:.0f} s"
    except (OakError, asyncssh.Error, OSError) as error:
        message = error.message if isinstance(error, OakError) else str(error)
        return message.removeprefix(f"{target.name}: ")
    return reach_rules.attempts(answer.decode(errors="replace").splitlines(), mark)


async def _run(target: Target, script: str) -> bytes:
    async with tunnel.connect(target) as connection:
        process = await connection.create_process(shells.sh(script), encoding=None)
        process.stdin.write_eof()
        answer = b""
        while len(answer) < MOST_ANSWER and (piece := await process.stdout.read(4096)):
            answer += piece
        process.close()
        return answer
