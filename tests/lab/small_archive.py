"""A few packages of Debian's archive for hosts that have no way out: real ones, and no others.

Belongs here: an archive of our own on this machine, and a host's `sources.list` that names it.
Does not belong here: what is installed from there.
"""

from __future__ import annotations

import http.server
import lzma
import threading
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from oakctl.errors import OakError
from oakctl.lab.machines import sources
from tests.lab.fleet_hosts import Host

FETCH_S = 120


class _Packages(http.server.BaseHTTPRequestHandler):
    archive: str
    index: bytes

    def do_GET(self) -> None:
        try:
            self._send(self._body())
        except (OSError, urllib.error.HTTPError):
            self.send_error(404)

    def _body(self) -> bytes:
        path = self.path.removeprefix("/").removeprefix("./")
        if path == "Packages":
            return self.index
        if not path.startswith("pool/"):
            raise OSError(f"{path} is not here")
        with urllib.request.urlopen(f"{self.archive}/{path}", timeout=FETCH_S) as answer:
            body: bytes = answer.read()
            return body

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        return


@contextmanager
def small_archive(suite: str, packages: Collection[str], hosts: Sequence[Host]) -> Iterator[None]:
    """The hosts' apt gets just these packages; skips where this machine gets none itself."""
    architecture = hosts[0].run("dpkg --print-architecture").stdout.strip()
    try:
        archive = sources.own_mirror().rstrip("/")
        place = f"{archive}/dists/{suite}/main/binary-{architecture}/Packages.xz"
        with urllib.request.urlopen(place, timeout=FETCH_S) as answer:
            index = lzma.decompress(answer.read()).decode()
    except (OakError, OSError) as error:
        pytest.skip(f"this machine gets no packages of Debian {suite}: {error}")
    body = sources.only(index, packages).encode()
    way = type("Way", (_Packages,), {"archive": archive, "index": body})
    with ExitStack() as stack:
        for host in hosts:
            # This machine's own address in the network that it reaches the host by.
            here = f"{host.view.address.rpartition('.')[0]}.253"
            server = stack.enter_context(http.server.ThreadingHTTPServer((here, 0), way))
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            line = f"deb [trusted=yes] http://{here}:{server.server_port} ./"
            host.run(f"echo '{line}' >/etc/apt/sources.list", root=True)
        yield
