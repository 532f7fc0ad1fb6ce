"""Serving the app to browsers: textual-serve with our guard in front and our own page.

Each browser tab is a process of its own that runs the app; it ends with the tab, and with this
server. Does not belong here: who is let in (`guard`), words for the user (`oakctl.cli.web`).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import shlex
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp_jinja2
import jinja2
from aiohttp import web
from textual_serve.server import Server

from oakctl import paths
from oakctl.errors import Conflict, OakError, UsageError
from oakctl.tui.looks.glyphs import VARIABLE, Glyphs
from oakctl.tui.web.guard import PARAMETER, Guard, Verdict, is_loopback

PAGE = Path(__file__).parent / "page"
LOG = "web.log"
TOKEN_BYTES = 32
GRACE_S = 5.0  # for requests under way when the server ends

# Nothing is loaded from anywhere else, whatever a page would say; nobody puts it in a frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Served:
    """What is served, and to whom. `certificate` and `key` are PEM files; None: plain HTTP."""

    host: str = "127.0.0.1"
    port: int = 8040  # 0: any that is free
    read_only: bool = True
    sessions: int = 4  # at a time
    names: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(TOKEN_BYTES), repr=False)

    @property
    def scheme(self) -> str:
        """By which browsers come."""
        return "https" if self.certificate else "http"

    def command(self) -> str:
        """What each tab runs, for a shell."""
        more = ("--read-only",) if self.read_only else ()
        # `exec`: the process that is told to end is then the app, and not a shell around it.
        # What this server's own terminal can draw is not what a browser can.
        glyphs = f"{VARIABLE}={Glyphs.UNICODE.value}"
        return f"exec env {glyphs} {shlex.join((sys.executable, '-m', 'oakctl', 'tui', *more))}"

    def address(self, port: int, way_out: str = "") -> str:
        """What a user opens: by the first name that was given, else by where it is listened on.

        `way_out` stands for that where it is every address of the machine, which none can open.
        """
        host = self.names[0] if self.names else (way_out or self.host)
        name = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{name}:{port}/?{PARAMETER}={quote(self.token)}"


class GuardedServer(Server):
    """textual-serve's server, behind a guard and with so many sessions at a time."""

    def __init__(self, served: Served, port: int) -> None:
        super().__init__(served.command(), served.host, port, title="oakctl", templates_path=PAGE)
        self._served = served
        names = frozenset({"localhost", served.host.lower(), *map(str.lower, served.names)})
        self._guard = Guard(served.token, f"oakctl-{port}", names)
        self._sessions = 0

    async def application(self) -> web.Application:
        """All routes, behind the guard."""
        app = web.Application(middlewares=[self._guarded])
        aiohttp_jinja2.setup(app, loader=jinja2.FileSystemLoader(PAGE), autoescape=True)
        app.add_routes(
            [
                web.get("/", self.handle_index, name="index"),
                web.get("/ws", self.handle_websocket, name="websocket"),
                web.get("/download/{key}", self.handle_download, name="download"),
                web.static("/static", self.statics_path, name="static"),
                web.static("/page", PAGE, name="page"),
            ]
        )
        return app

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        verdict = self._guard.judge(
            request.headers, request.query, request.cookies, scheme=self._served.scheme
        )
        if verdict is Verdict.WELCOME:
            return self._fenced(await handler(request))
        if verdict is Verdict.ENTER:
            return self._fenced(self._enter())
        if verdict is Verdict.FOREIGN:
            return self._fenced(_said(403, "This page was asked for by, or as, another site."))
        return self._fenced(
            _said(401, "Open the address that `oakctl web` has printed: the token is in it.")
        )

    def _enter(self) -> web.Response:
        answer = web.Response(status=303, headers={"Location": "/"})
        answer.set_cookie(
            self._guard.cookie,
            self._guard.token,
            httponly=True,
            samesite="Strict",
            secure=self._served.scheme == "https",
        )
        return answer

    @staticmethod
    def _fenced(answer: web.StreamResponse) -> web.StreamResponse:
        if not answer.prepared:
            answer.headers["Content-Security-Policy"] = POLICY
            answer.headers["Referrer-Policy"] = "no-referrer"
            answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer

    async def handle_index(self, request: web.Request) -> web.StreamResponse:
        """The page; it opens its session by the name that it was itself reached by."""
        if self._sessions >= self._served.sessions:
            return self._full()
        scheme = "wss" if self._served.scheme == "https" else "ws"
        wanted = request.query.get("fontsize", "")
        size = min(int(wanted), 72) if wanted.isascii() and wanted.isdigit() else 16
        context: dict[str, Any] = {
            "font_size": max(size, 6),
            "app_websocket_url": f"{scheme}://{request.host}/ws",
            "config": {"static": {"url": "/static/"}},
            "application": {"name": "oakctl"},
        }
        answer = aiohttp_jinja2.render_template("app_index.html", request, context)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """A session, if there are not too many."""
        if self._sessions >= self._served.sessions:
            raise web.HTTPServiceUnavailable(text=self._too_many())
        self._sessions += 1
        try:
            return await super().handle_websocket(request)
        finally:
            self._sessions -= 1

    def _full(self) -> web.Response:
        return _said(503, self._too_many())

    def _too_many(self) -> str:
        return (
            f"There are {self._sessions} sessions, and no more are allowed (--sessions). "
            "Close another tab first."
        )


@contextlib.asynccontextmanager
async def serving(served: Served) -> AsyncIterator[str]:
    """Serve until left; gives the address with its token.

    Raises UsageError where a network would read the token, Conflict for a port that is taken,
    OakError for another that cannot be listened on and for files that are no certificate.
    """
    if not is_loopback(served.host) and served.certificate is None:
        raise UsageError(
            f"on {served.host} others would read the token on its way",
            hint="with --certificate and --key, or from afar: ssh -L 8040:127.0.0.1:8040 THIS-HOST",
        )
    _log_to_file()
    listener = _listener(served)
    port = int(listener.getsockname()[1])
    app = await GuardedServer(served, port).application()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE_S)
    await runner.setup()
    try:
        await web.SockSite(runner, listener, ssl_context=_certificate(served)).start()
        yield served.address(port, _way_out(served.host))
    finally:
        await runner.cleanup()


def _said(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n")


def _listener(served: Served) -> socket.socket:
    try:
        return socket.create_server(
            (served.host, served.port),
            family=socket.AF_INET6 if ":" in served.host else socket.AF_INET,
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"port {served.port} of {served.host} is taken",
                hint="oakctl web --port 0 takes one that is free",
            ) from error
        raise OakError(
            f"{served.host}:{served.port} cannot be listened on: {error.strerror}",
            hint="oakctl web --port 8040",
        ) from error


def _way_out(host: str) -> str:
    """For "any address": this machine's on the way to others; itself where there is no way."""
    any_of = {"0.0.0.0": "192.0.2.1", "::": "2001:db8::1"}  # to examples (RFC 5737, 3849)
    if host not in any_of:
        return ""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.connect((any_of[host], 9))  # nothing is sent
            return str(asked.getsockname()[0])
    except OSError:
        return "localhost"


def _certificate(served: Served) -> ssl.SSLContext | None:
    if served.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(served.certificate, served.key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{served.certificate} and its key cannot be used: {error}",
            hint="PEM files: --certificate cert.pem --key key.pem",
        ) from error
    return context


def _log_to_file() -> None:
    """What goes wrong in a session is for a file: its user is at the other end of a network."""
    file = paths.private_directory(paths.state_directory()) / LOG
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
    handler = logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("textual-serve", "aiohttp"):
        log = logging.getLogger(name)
        log.handlers[:] = [handler]
        log.propagate = False
