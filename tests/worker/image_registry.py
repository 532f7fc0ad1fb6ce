"""A registry of images on this machine's loopback: as much of one as `docker pull` asks for.

Belongs here: serving layers that tests made. It can be slow on purpose (`go`), so that a pull
is seen while it goes on, and refuse everybody (`refuses`).
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
REFUSALS = {
    401: b'{"code":"UNAUTHORIZED","message":"authentication required"}',
    403: b'{"code":"DENIED","message":"access to the resource is denied"}',
    429: b'{"code":"TOOMANYREQUESTS","message":"you have pulled enough for today"}',
}
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class ImageRegistry:
    """Images by name; `address` goes before a name."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.served: list[str] = []
        self.go = threading.Event()
        self.go.set()
        self.refuses = 0  # the status with which it does
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def address(self) -> str:
        """host:port"""
        return f"127.0.0.1:{self.server.server_address[1]}"

    def put(self, name: str, tag: str, files: dict[str, str], layers: int = 2) -> str:
        """An image with these files and some bytes in further layers; returns its reference."""
        plain = [
            _tar(files),
            *(_tar({f"filler{n}": os.urandom(150_000).hex()}) for n in range(layers - 1)),
        ]
        config = {
            "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer) for layer in plain]},
        }
        packed = [gzip.compress(layer, mtime=0) for layer in plain]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._blob(CONFIG, json.dumps(config).encode()),
            "layers": [self._blob(LAYER, layer) for layer in packed],
        }
        content = json.dumps(manifest).encode()
        self.manifests[f"{name}:{tag}"] = self.manifests[f"{name}:{_digest(content)}"] = content
        return f"{self.address}/{name}:{tag}"

    def _blob(self, kind: str, content: bytes) -> dict[str, object]:
        self.blobs[_digest(content)] = content
        return {"mediaType": kind, "size": len(content), "digest": _digest(content)}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def do_GET(self) -> None:
                self._answer(with_body=True)

            def _answer(self, *, with_body: bool) -> None:
                if registry.refuses:
                    return self._send(registry.refuses, "", None, with_body)
                name, _, rest = self.path.removeprefix("/v2/").partition("/manifests/")
                if self.path == "/v2/":
                    return self._send(200, "application/json", b"{}", with_body)
                if rest:
                    registry.served.append(self.path)
                    content = registry.manifests.get(f"{name}:{rest}")
                    return self._send(200 if content else 404, MANIFEST, content, with_body)
                content = registry.blobs.get(self.path.rpartition("/")[2])
                return self._send(200 if content else 404, "application/x", content, with_body)

            def _send(self, status: int, kind: str, content: bytes | None, with_body: bool) -> None:
                said = REFUSALS.get(status, b'{"code":"MANIFEST_UNKNOWN","message":"unknown"}')
                body = content or b'{"errors":[' + said + b"]}"
                self.send_response(status)
                self.send_header("WWW-Authenticate", 'Basic realm="tests"')
                self.send_header("Content-Type", kind if content else "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Docker-Content-Digest", _digest(body))
                self.send_header("Docker-Distribution-API-Version", "registry/2.0")
                self.end_headers()
                if with_body:
                    with contextlib.suppress(OSError):
                        half = len(body) // 2 if kind == "application/x" else len(body)
                        self.wfile.write(body[:half])
                        self.wfile.flush()
                        registry.go.wait(60)
                        self.wfile.write(body[half:])

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _tar(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(text), 0o755
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextlib.contextmanager
def registry() -> Iterator[ImageRegistry]:
    """One that serves until the end of the block."""
    made = ImageRegistry()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.go.set()
        made.server.shutdown()
        made.server.server_close()
        thread.join(timeout=10)
