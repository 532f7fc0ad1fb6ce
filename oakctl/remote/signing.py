"""A private key for paramiko that asyncssh has read, so that both libraries know the same files.

paramiko reads fewer formats (no PKCS #8, and not every OpenSSH file). Does not belong here: which
key is offered when (`identity`).
"""

from __future__ import annotations

from pathlib import Path

import asyncssh
import paramiko

CERTIFIED = "-cert-v01@openssh.com"


class FileKey(paramiko.PKey):  # type: ignore[misc]  # paramiko has no types
    """The key in `file`, with the certificate that stands beside it, if there is one.

    Raises OSError, and KeyEncryptionError or KeyImportError where the passphrase is another one.
    """

    def __init__(self, file: Path, passphrase: str) -> None:
        self._key = asyncssh.read_private_key(file, passphrase or None)
        self.public_blob = None
        certificate = file.with_name(f"{file.name}-cert.pub")
        if certificate.is_file():
            self.load_certificate(str(certificate))

    def get_name(self) -> str:
        """Its type, as the protocol calls it."""
        return self._key.get_algorithm()

    def asbytes(self) -> bytes:
        """Its public part."""
        return self._key.public_data

    def can_sign(self) -> bool:
        """Always."""
        return True

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> bytes:
        """A signature, as the protocol has it."""
        name = (algorithm or self.get_name()).removesuffix(CERTIFIED)
        return self._key.sign(data, name.encode())
