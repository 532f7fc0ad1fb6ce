"""A web server on port 8080 of the instance's address that says which instance answered."""

import os
import signal
import socketserver
import sys
from http.server import BaseHTTPRequestHandler

PORT = 8080


class Hello(BaseHTTPRequestHandler):
    """Answers every path with the same line."""

    def do_GET(self) -> None:
        body = f"hello from {os.environ.get('OAKCTL_INSTANCE', 'nowhere')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(socketserver.ThreadingTCPServer):
    """Unlike http.server's own, asks no name server for the name of its address."""

    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    address = os.environ.get("OAKCTL_BIND", "") or "127.0.0.1"
    print(f"listening on {address}:{PORT}", flush=True)
    with Server((address, PORT), Hello) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
