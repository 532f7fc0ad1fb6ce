"""A small web server for metrics and, on the client, the picture."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler

Page = tuple[str, Callable[[], bytes]]  # content type, body


class WebServer(socketserver.ThreadingTCPServer):
    """Serves each page of `pages` by its path. Answers come from threads of its own."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], pages: Mapping[str, Page]) -> None:
        self.pages = pages
        super().__init__(address, _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.2,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No more answers; the port is free."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    timeout = 5
    server: WebServer

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(404)
            return
        content_type, body = page[0], page[1]()
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """A line for each scrape would be most of the log."""
