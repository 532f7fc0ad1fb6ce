"""A cluster's own certificate authority, and the certificate of its bus.

Made in memory with `cryptography`; the caller puts the files on the cluster's host and keeps no
copy of the keys. Does not belong here: who trusts them (`orchestration.bus`).
"""

from __future__ import annotations

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_FOR = datetime.timedelta(days=3650)
# A host's clock may be behind ours; the certificate has to be valid there, too.
BACKDATED = datetime.timedelta(days=1)


def make(cluster: str, address: str) -> dict[str, bytes]:
    """PEM of `ca.pem`, `ca.key`, `server.pem` and `server.key`.

    The server's certificate names the cluster's id, which verifies through a tunnel as well, and
    `address` (may be empty).
    """
    ca_key, key = _key(), _key()
    ca_name = _name(f"oakctl cluster {cluster}")
    ca = (
        _certificate(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False)
        .sign(ca_key, hashes.SHA256())
    )
    server = (
        _certificate(_name(cluster), ca_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(_names(cluster, address)), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    return {
        "ca.pem": ca.public_bytes(serialization.Encoding.PEM),
        "ca.key": _private(ca_key),
        "server.pem": server.public_bytes(serialization.Encoding.PEM),
        "server.key": _private(key),
    }


def fault(server_pem: bytes, cluster: str) -> str:
    """Why this certificate cannot serve `cluster`, in words; empty when it can."""
    try:
        certificate = x509.load_pem_x509_certificate(server_pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return "not a certificate"
    if cluster not in names.get_values_for_type(x509.DNSName):
        return f"made for another cluster than {cluster}"
    if certificate.not_valid_after_utc < datetime.datetime.now(datetime.timezone.utc):
        return "expired"
    return ""


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _names(cluster: str, address: str) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName(cluster)]
    if address:
        names.append(x509.IPAddress(ipaddress.ip_address(address)))
    return names


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - BACKDATED,
        not_valid_after=now + VALID_FOR,
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=sign,
        encipher_only=False,
        decipher_only=False,
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
