# ruff: noqa: T201
"""What runs in instances of the tests: `serve` answers with its name, `ask` asks many times.

programs.py serve NAME PORT            TCP and UDP: "NAME who-asked" to each line or datagram
programs.py ask ADDRESS PORT N PROTO   prints a JSON list of answers, an error by its name
programs.py talk ADDRESS PORT PROTO    one flow: for each line of input one question, one line
programs.py listen ADDRESS PORT        reads only; prints how its connection ended
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys

DEADLINE_S = 5.0


async def serve(name: str, port: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        who = writer.get_extra_info("peername")[0]
        try:
            while await reader.readline():
                writer.write(f"{name} {who}\n".encode())
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, who: tuple[str, int]) -> None:
            self.transport.sendto(f"{name} {who[0]}\n".encode(), who)  # type: ignore[attr-defined]

    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Datagrams, local_addr=("0.0.0.0", port))
    async with await asyncio.start_server(connected, "0.0.0.0", port) as server:
        print("ready", flush=True)
        await server.serve_forever()


def connect(address: str, port: int, protocol: str) -> socket.socket:
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    opened = socket.socket(socket.AF_INET, kind)
    opened.settimeout(DEADLINE_S)
    opened.connect((address, port))
    return opened


def question(opened: socket.socket) -> str:
    try:
        opened.send(b"?\n")
        return opened.recv(200).decode().strip() or "end"
    except OSError as error:
        return type(error).__name__


def ask(address: str, port: int, times: int, protocol: str) -> None:
    answers = []
    for _ in range(times):
        try:
            with connect(address, port, protocol) as opened:
                answers.append(question(opened))
        except OSError as error:
            answers.append(type(error).__name__)
    print(json.dumps(answers))


def talk(address: str, port: int, protocol: str) -> None:
    with connect(address, port, protocol) as opened:
        for _ in sys.stdin:
            print(question(opened), flush=True)


def listen(address: str, port: int) -> None:
    with connect(address, port, "tcp") as opened:
        opened.settimeout(None)
        print(question(opened), flush=True)
        try:
            print("end" if not opened.recv(1) else "data", flush=True)
        except OSError as error:
            print(type(error).__name__, flush=True)


def hear(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("0.0.0.0", port))
        print("ready", flush=True)
        while True:
            print(opened.recvfrom(200)[1][0], flush=True)


async def load(address: str, port: int, until: str) -> None:
    print("ready", flush=True)

    async def one() -> str:
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 60)
        except ConnectionResetError as error:  # it had come about: else it would be a refusal
            return f"cut off: {type(error).__name__}"
        except (OSError, TimeoutError) as error:
            return f"no connection: {type(error).__name__}"
        try:
            writer.write(b"?\n")
            return (await reader.readline()).decode().split(" ")[0] or "end"
        except OSError as error:
            return f"cut off: {type(error).__name__}"
        finally:
            writer.close()

    answers: list[str] = []
    last: set[str] = set()
    while last != {until}:
        tasks = []
        for _ in range(50):
            tasks.append(asyncio.ensure_future(one()))
            await asyncio.sleep(0.02)
        found = await asyncio.gather(*tasks)
        if not answers:
            print("under way", flush=True)
        last = set(found)
        answers += found
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    if what == "serve":
        asyncio.run(serve(words[0], int(words[1])))
    elif what == "ask":
        ask(words[0], int(words[1]), int(words[2]), words[3])
    elif what == "talk":
        talk(words[0], int(words[1]), words[2])
    elif what == "load":
        asyncio.run(load(words[0], int(words[1]), words[2]))
    elif what == "hear":
        hear(int(words[0]))
    else:
        listen(words[0], int(words[1]))
