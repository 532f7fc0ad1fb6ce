"""The cluster's CA and its server's certificate, judged by the TLS of the standard library."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from oakctl.orchestration.bus import client_context
from oakctl.remote import authority


def shake_hands(folder: Path, name: str, ca: Path) -> str:
    """The version of TLS that a client agrees on with a server of this certificate."""
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(folder / "server.pem", folder / "server.key")
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            with server_context.wrap_socket(theirs, server_side=True):
                pass
        except (ssl.SSLError, OSError):
            theirs.close()

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        with client_context(str(ca)).wrap_socket(ours, server_hostname=name) as connection:
            return connection.version() or ""
    finally:
        ours.close()
        serving.join(10)


def write(folder: Path, cluster: str, address: str) -> Path:
    folder.mkdir()
    for name, content in authority.make(cluster, address).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("name", ["edge", "127.4.0.1"])
def test_verifies_by_the_clusters_id_and_by_its_address(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "edge", "edge", "127.4.0.1")
    assert shake_hands(folder, name, folder / "ca.pem") == "TLSv1.3"


def test_another_clusters_authority_is_not_believed(tmp_path: Path) -> None:
    edge, cloud = write(tmp_path / "edge", "edge", ""), write(tmp_path / "cloud", "cloud", "")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(edge, "edge", cloud / "ca.pem")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(edge, "cloud", edge / "ca.pem")


def test_faults_are_told_in_words() -> None:
    made = authority.make("edge", "")["server.pem"]
    assert authority.fault(made, "edge") == ""
    assert authority.fault(made, "cloud") == "made for another cluster than cloud"
    assert authority.fault(b"nonsense", "edge") == "not a certificate"
