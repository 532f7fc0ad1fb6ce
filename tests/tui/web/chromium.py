"""Debian's Chromium without a screen, spoken to by its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.waiting import until

PROGRAM = "chromium"


def why_not() -> str:
    """Why there is none; empty where there is."""
    return "" if shutil.which(PROGRAM) else f"{PROGRAM} is not installed"


class Tab:
    """One tab: commands, and all that it has asked the network for and been told since."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._next = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.requests: list[str] = []  # addresses, WebSockets among them
        self.shown = b""  # what the app has written to its terminal
        self.complaints: list[str] = []  # what of the page was refused or is not there
        self._reading = asyncio.create_task(self._read())

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result."""
        self._next += 1
        answer = self._answers[self._next] = asyncio.get_running_loop().create_future()
        message = {"id": self._next, "method": method, "params": parameters}
        await self._socket.send(json.dumps(message))
        return await asyncio.wait_for(answer, 60)

    async def value(self, expression: str) -> Any:
        """What JavaScript says."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    async def press(self, text: str) -> None:
        """Type one character."""
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, key=text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=text)

    async def end(self) -> None:
        """Read no more."""
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading

    async def _read(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            if "id" in message:
                self._answers.pop(message["id"]).set_result(message.get("result", {}))
            else:
                self._note(message["method"], message["params"])

    def _note(self, method: str, told: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requests.append(told["url"])
        elif method == "Network.webSocketFrameReceived":
            data = told["response"]["payloadData"]
            binary = told["response"]["opcode"] == 2
            self.shown += base64.b64decode(data) if binary else data.encode()
        elif method == "Log.entryAdded" and told["entry"]["source"] in ("security", "network"):
            self.complaints.append(told["entry"]["text"])


@asynccontextmanager
async def tab(folder: Path, address: str) -> AsyncIterator[Tab]:
    """A tab that has been sent to `address`, watched from the first request."""
    profile = folder / "profile"
    no_sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    command = (
        *(PROGRAM, "--headless=new", "--disable-gpu", "--no-first-run", *no_sandbox),
        *("--disable-background-networking", "--disable-component-update"),
        *(f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"),
    )
    with (folder / "chromium.log").open("w") as log:
        browser = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        chosen = profile / "DevToolsActivePort"
        text = await until(
            "Chromium to listen", lambda: chosen.read_text() if chosen.exists() else ""
        )
        port = text.splitlines()[0]
        async with httpx.AsyncClient() as client:
            tabs = (await client.get(f"http://127.0.0.1:{port}/json/list")).json()
        page = next(each for each in tabs if each["type"] == "page")
        async with connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
            found = Tab(socket)
            for domain in ("Network", "Page", "Runtime", "Log"):
                await found.call(f"{domain}.enable")
            await found.call("Page.navigate", url=address)
            try:
                yield found
            finally:
                await found.end()
    finally:
        browser.terminate()
        browser.wait(60)
