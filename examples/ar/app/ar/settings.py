"""What a stage is told by its environment: by the worker (`OAKCTL_`) and the descriptor (`AR_`).

OAKCTL_BIND           address to listen on, given by the worker
OAKCTL_ADDR_<SERVICE> where the next stage is reached; it stays, whatever runs behind it
AR_NEXT               the same for hosts without an overlay, where no such address is given: the
                      host on which the next stage runs
AR_FPS                frames per second of the client (15)
AR_WIDTH, AR_HEIGHT   pixels of its frames (640, 480)
AR_SEED               what it draws (1); each instance adds its number
AR_PICTURES           a folder of .pgm or .ppm pictures to show instead
AR_CHUNK_BYTES        longest datagram (1200: fits the MTU of real networks)
AR_SERVICE_MS         declared extra time for each frame of a stage, slept (0)
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ar.wire import SMALLEST_CHUNK, Address

PRE_PORT = 50100
OBJ_PORT = 50101
REC_PORT = 50102
CLIENT_PORT = 50103
METRICS_PORT = 9100
EVERYWHERE = "0.0.0.0"
LARGEST_DATAGRAM = 65_507  # bytes: what UDP over IPv4 can carry


class WrongSetting(Exception):
    """A variable that is missing or impossible."""


@dataclass(frozen=True)
class Settings:
    """The environment of one instance, checked."""

    bind: str
    number: int  # of the instance
    fps: float
    width: int
    height: int
    seed: int
    pictures: Path | None
    chunk_bytes: int
    service_s: float
    environment: Mapping[str, str]

    def next_stage(self, service: str, port: int) -> Address:
        """Where `service` is reached; raises WrongSetting."""
        variable = f"OAKCTL_ADDR_{service.upper()}"
        address = self.environment.get(variable, "") or self.environment.get("AR_NEXT", "")
        if not address:
            raise WrongSetting(f"{variable} is not set: `connectivity` has to name {service}")
        return address, port

    def reached_at(self, towards: Address) -> str:
        """The address of this instance for whoever is at `towards`; raises OSError.

        A container with a network of its own listens on every address it has there.
        """
        if self.bind != EVERYWHERE:
            return self.bind
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(towards)  # nothing is sent
            return str(probe.getsockname()[0])


def read(environment: Mapping[str, str]) -> Settings:
    """The settings in `environment`; raises WrongSetting."""
    pictures = environment.get("AR_PICTURES", "")
    number = environment.get("OAKCTL_INSTANCE", "").rpartition(".")[2]
    return Settings(
        bind=environment.get("OAKCTL_BIND", "") or "127.0.0.1",
        number=int(number) if number.isdecimal() else 0,
        fps=_number(environment, "AR_FPS", 15, 0.1, 1000),
        width=int(_number(environment, "AR_WIDTH", 640, 160, 8192)),
        height=int(_number(environment, "AR_HEIGHT", 480, 160, 8192)),
        seed=int(_number(environment, "AR_SEED", 1, 0, 2**31)),
        pictures=Path(pictures) if pictures else None,
        chunk_bytes=int(
            _number(environment, "AR_CHUNK_BYTES", 1200, SMALLEST_CHUNK, LARGEST_DATAGRAM)
        ),
        service_s=_number(environment, "AR_SERVICE_MS", 0, 0, 60_000) / 1000,
        environment=environment,
    )


def _number(
    environment: Mapping[str, str], name: str, default: float, least: float, most: float
) -> float:
    text = environment.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise WrongSetting(f"{name}: {text!r} is not a number") from None
    if not least <= value <= most:
        raise WrongSetting(f"{name}: {text} is not in {least:g}..{most:g}")
    return value
