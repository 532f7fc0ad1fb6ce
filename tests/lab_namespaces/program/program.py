# ruff: noqa: T201
"""The instance of the matrix tests, and who calls it: TCP and UDP on port 7000.

program.py serve                       answers each line and datagram with the instance's name
program.py ask N ADDRESS...            N new flows of each kind to each: prints lists of answers
program.py bulk ADDRESS BYTES          sends as much, prints how much the other side has counted
program.py load ADDRESS                a new connection each 10 ms, and one long flow of each kind,
                                       until its input ends: prints what became of them
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections import Counter

PORT = 7000
NAME = os.environ.get("OAKCTL_INSTANCE", "?")
NEW_EVERY_S = 0.01
NEW_WAITS_S = 30.0
ASK_WAITS_S = 10.0
DATAGRAM_WAITS_S = 3.0


async def serve() -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                if line.startswith(b"+"):
                    counted = len(await reader.readexactly(int(line)))
                    writer.write(f"{counted}\n".encode())
                else:
                    writer.write(f"{NAME}\n".encode())
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, who: tuple[str, int]) -> None:
            self.transport.sendto(f"{NAME}\n".encode(), who)  # type: ignore[attr-defined]

    bind = os.environ["OAKCTL_BIND"]
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Datagrams, local_addr=(bind, PORT))
    async with await asyncio.start_server(connected, bind, PORT, backlog=1024) as server:
        await server.serve_forever()


def flow(address: str, protocol: str) -> socket.socket:
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    opened = socket.socket(socket.AF_INET, kind)
    opened.settimeout(ASK_WAITS_S)
    opened.connect((address, PORT))
    return opened


def question(opened: socket.socket) -> str:
    opened.send(b"?\n")
    return opened.recv(200).decode().strip() or "end"


def ask(address: str, times: int, protocol: str) -> list[str]:
    answers = []
    for _ in range(times):
        try:
            with flow(address, protocol) as opened:
                answers.append(question(opened))
        except OSError as error:
            answers.append(type(error).__name__)
    return answers


def bulk(address: str, size: int) -> int:
    with flow(address, "tcp") as opened:
        opened.sendall(b"+%d\n" % size + bytes(size))
        return int(opened.makefile().readline())


class Load:
    """What became of new connections, and of flows that stay."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._ended = asyncio.Event()
        self.answers: Counter[str] = Counter()
        self.faults: list[str] = []
        self.longest_ms = 0.0
        self.long: dict[str, list[str]] = {"tcp": [], "udp": []}

    async def run(self) -> None:
        asyncio.get_running_loop().add_reader(0, self._ended.set)
        long = [asyncio.ensure_future(self._tcp()), asyncio.ensure_future(self._udp())]
        new = []
        print("under way", flush=True)
        while not self._ended.is_set():
            new.append(asyncio.ensure_future(self._one()))
            await asyncio.sleep(NEW_EVERY_S)
        await asyncio.gather(*new, *long)

    async def _one(self) -> None:
        begin = time.monotonic()
        try:
            async with asyncio.timeout(NEW_WAITS_S):
                reader, writer = await asyncio.open_connection(self._address, PORT)
        except ConnectionResetError as error:  # it had come about: else it would be a refusal
            self.faults.append(f"cut off: {type(error).__name__}")
            return
        except (OSError, TimeoutError) as error:
            self.faults.append(f"no connection: {type(error).__name__}")
            return
        try:
            writer.write(b"?\n")
            async with asyncio.timeout(NEW_WAITS_S):
                said = (await reader.readline()).decode().strip()
        except (OSError, TimeoutError) as error:
            said = ""
            self.faults.append(f"cut off: {type(error).__name__}")
        else:
            if not said:
                self.faults.append("cut off: end")
        finally:
            writer.close()
        self.answers[said] += 1
        self.longest_ms = max(self.longest_ms, (time.monotonic() - begin) * 1e3)

    async def _tcp(self) -> None:
        """A question each 100 ms; when the connection ends another one is made."""
        while not self._ended.is_set():
            try:
                async with asyncio.timeout(NEW_WAITS_S):
                    reader, writer = await asyncio.open_connection(self._address, PORT)
                self.long["tcp"].append("new")
                while not self._ended.is_set():
                    writer.write(b"?\n")
                    async with asyncio.timeout(NEW_WAITS_S):
                        line = await reader.readline()
                    self._note("tcp", line.decode().strip() or "end")
                    if not line:
                        break
                    await asyncio.sleep(0.1)
                writer.close()
            except (OSError, TimeoutError) as error:
                self._note("tcp", type(error).__name__)

    async def _udp(self) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
            opened.setblocking(False)
            opened.connect((self._address, PORT))
            while not self._ended.is_set():
                try:
                    await loop.sock_sendall(opened, b"?\n")
                    async with asyncio.timeout(DATAGRAM_WAITS_S):
                        self._note("udp", (await loop.sock_recv(opened, 200)).decode().strip())
                except TimeoutError:
                    self._note("udp", "lost")
                except OSError as error:
                    self._note("udp", type(error).__name__)
                await asyncio.sleep(0.1)

    def _note(self, protocol: str, what: str) -> None:
        said = self.long[protocol]
        if not said or said[-1] != what:
            said.append(what)


async def load(address: str) -> None:
    made = Load(address)
    await made.run()
    found = vars(made)
    print(json.dumps({key: found[key] for key in ("answers", "faults", "longest_ms", "long")}))


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    if what == "serve":
        asyncio.run(serve())
    elif what == "ask":
        kinds = ("tcp", "udp")
        print(json.dumps({f"{a} {k}": ask(a, int(words[0]), k) for a in words[1:] for k in kinds}))
    elif what == "bulk":
        print(bulk(words[0], int(words[1])))
    else:
        asyncio.run(load(words[0]))
