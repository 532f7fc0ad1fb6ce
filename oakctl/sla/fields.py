"""The forms of single values: names, ports, addresses, points on earth, environment entries.

Belongs here: functions from the text of a field to its value; each raises ValueError with the
rule that does not hold, in words that follow the value. Does not belong here: rules that need a
second field (`rules`).
"""

from __future__ import annotations

import ipaddress
import posixpath
import re

from oakctl.model import architectures, secrets
from oakctl.model.resources import Location
from oakctl.model.secrets import SecretUse
from oakctl.model.service import AUTOMATIC, Port, Volume

NAME_PATTERN = "^[a-zA-Z0-9]{1,30}$"
SERVICE_NETWORK = ipaddress.IPv4Network("10.30.0.0/16")
RR_NETWORK_V6 = ipaddress.IPv6Network("fdff:2000::/21")
CLOSEST_NETWORK_V6 = ipaddress.IPv6Network("fdff:1000::/21")
SHA256_PREFIX = "sha256:"

_NAME = re.compile(r"[a-zA-Z0-9]{1,30}")
_ENVIRONMENT = re.compile(r"[^=\s]+=.*", re.DOTALL)
_NUMBER = re.compile(r"[0-9]{1,9}")
_VOLUME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}")
_CAPABILITY = re.compile(r"[A-Z][A-Z0-9_]{2,30}")
_VOLUME_FORM = "NAME:/PATH or /HOST/PATH:/PATH, with :ro behind it to read alone"
_FILES_FORM = "./FOLDER:/PATH, ./FILE:/PATH, FILES.tar.gz:/PATH or sha256:HEX:/PATH"
_PORT_FORM = "HOST:CONTAINER, HOST:CONTAINER/udp or PORT, several separated by ;"
_VARIABLE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_FILE = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,126}")
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")


def is_name(text: str) -> bool:
    """Whether `text` can name an application, a service or a namespace."""
    return bool(_NAME.fullmatch(text))


def name(text: str) -> str:
    """A name of an application, a service or a namespace."""
    if not is_name(text):
        raise ValueError(f"does not match {NAME_PATTERN}: letters and digits, 1 to 30 of them")
    return text


def ports(text: str) -> tuple[Port, ...]:
    """The published ports of `port`: "80", "80:80", "80:80/tcp", several separated by `;`."""
    return tuple(_published(part.strip()) for part in text.split(";") if part.strip())


def _published(text: str) -> Port:
    numbers, protocol = _protocol(text)
    host, colon, container = numbers.partition(":")
    if not colon:
        container = host
    return Port(_port_number(container), _port_number(host), protocol)


def listen(text: str) -> Port:
    """One entry of `oakctl.listen`: "50101/udp" or "8080"."""
    number, protocol = _protocol(text.strip())
    if ":" in number:
        raise ValueError("is not PORT, PORT/tcp or PORT/udp: listen publishes nothing on hosts")
    return Port(_port_number(number), 0, protocol)


def _protocol(text: str) -> tuple[str, str]:
    numbers, slash, protocol = text.partition("/")
    if slash and protocol.lower() not in ("tcp", "udp"):
        raise ValueError(f"has {protocol!r} where tcp or udp belongs")
    return numbers, protocol.lower() or "tcp"


def _port_number(text: str) -> int:
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError(f"is not {_PORT_FORM}")
    number = int(text)
    if not 1 <= number <= 65535:
        raise ValueError(f"has port {number}, which is not in 1..65535")
    return number


def service_address_or_automatic(text: str) -> str:
    """As `service_address`; or "auto"."""
    return text if text == AUTOMATIC else service_address(text)


def service_address(text: str) -> str:
    """An IPv4 service address, in its usual form; "" stays ""."""
    if not text:
        return text
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        raise ValueError("is not an IPv4 address") from None
    if address not in SERVICE_NETWORK:
        raise ValueError(f"is outside the service network {SERVICE_NETWORK}")
    if address in (SERVICE_NETWORK.network_address, SERVICE_NETWORK.broadcast_address):
        raise ValueError(f"is the network's own address in {SERVICE_NETWORK}")
    return str(address)


def service_address_v6(text: str, network: ipaddress.IPv6Network) -> str:
    """An IPv6 service address inside `network`; "" stays ""."""
    if not text:
        return text
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise ValueError("is not an IPv6 address") from None
    if address not in network:
        raise ValueError(f"is outside {network}")
    return str(address)


def environment(text: str) -> str:
    """One environment entry, KEY=VALUE."""
    if not _ENVIRONMENT.fullmatch(text):
        raise ValueError("is not KEY=VALUE")
    return text


def volume(text: str) -> Volume:
    """One entry of `oakctl.volumes`: NAME:/PATH or /HOST/PATH:/PATH, each also with :ro."""
    source, colon, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not colon or mode not in ("", "ro", "rw") or rest.count(":") > 1:
        raise ValueError(f"is not {_VOLUME_FORM}")
    if not source.startswith("/") and not _VOLUME.fullmatch(source):
        raise ValueError(f"is not {_VOLUME_FORM}: a name is letters, digits, . _ and -")
    return Volume(_absolute(source) if source.startswith("/") else source, _absolute(target),
                  read_only=mode == "ro")  # fmt: skip


def is_url(text: str) -> bool:
    """Whether an entry of `added_files` is a URL, as in Oakestra's own files."""
    return "://" in text


def added_files(text: str) -> tuple[str, str]:
    """(reference, folder in the container) of one entry of `added_files`, ./FILES:/PATH."""
    reference, _, target = text.rpartition(":")
    if not reference or is_url(text) or not target.startswith("/"):
        raise ValueError(f"is not {_FILES_FORM}")
    return artifact_reference(reference), _absolute(target)


def device(text: str) -> str:
    """A device node of the host."""
    if not _absolute(text).startswith("/dev/"):
        raise ValueError("is not the path of a device: /dev/NAME")
    return _absolute(text)


def capability(text: str) -> str:
    """A capability as Docker calls it, without CAP_."""
    name_ = text.strip().upper().removeprefix("CAP_")
    if not _CAPABILITY.fullmatch(name_) or name_ == "ALL":
        raise ValueError("is not one capability, such as NET_ADMIN")
    return name_


def _absolute(text: str) -> str:
    path = posixpath.normpath(text)
    if not text.startswith("/") or ".." in text.split("/") or path == "/":
        raise ValueError(f"has {text!r} where an absolute path below / belongs")
    return path


def location(text: str) -> Location:
    """A point: "longitude;latitude" as Oakestra's SLA has it, or "latitude,longitude[,radius]"."""
    separator = ";" if ";" in text else ","
    parts = text.split(separator)
    if len(parts) != 2 and not (separator == "," and len(parts) == 3):
        raise ValueError('is not "longitude;latitude" or "latitude,longitude"')
    try:
        first, second = float(parts[0]), float(parts[1])
    except ValueError:
        raise ValueError('is not "longitude;latitude" or "latitude,longitude"') from None
    latitude, longitude = (second, first) if separator == ";" else (first, second)
    if not -90 <= latitude <= 90:
        raise ValueError(f"has latitude {latitude:g}, which is not in -90..90")
    if not -180 <= longitude <= 180:
        raise ValueError(f"has longitude {longitude:g}, which is not in -180..180")
    return Location(latitude, longitude)


def names_list(text: str) -> tuple[str, ...]:
    """The names in "a;b" of a direct constraint."""
    return tuple(part.strip() for part in text.split(";") if part.strip())


def architecture(text: str) -> str:
    """An architecture as `uname -m` calls it."""
    return architectures.canonical(text)


def codes(given: dict[str, str]) -> dict[str, str]:
    """`oakctl.code`: architecture, as `uname -m` calls it → code."""
    found: dict[str, str] = {}
    for key, value in given.items():
        name_ = architecture(key)
        if not _ARCHITECTURE.fullmatch(name_):
            raise ValueError(f"has {key!r} where an architecture belongs, such as amd64 or arm64")
        if name_ in found:
            raise ValueError(f"has {key} twice: it is {name_}")
        if not value.strip():
            raise ValueError(f"has no code for {key}")
        found[name_] = value
    if not found:
        raise ValueError("is empty")
    return found


def secret_name(text: str) -> str:
    """The name of a secret."""
    if not secrets.is_name(text):
        raise ValueError("is not the name of a secret: letters, digits, . _ and -, at most 63")
    return text


def secret(name_: str, kind: str, target: str) -> SecretUse:
    """One entry of `oakctl.secrets`; an empty target is the secret's own name, as far as it can
    be one."""
    if kind == secrets.ENV:
        variable = target or re.sub(r"[.-]", "_", name_).upper()
        if not _VARIABLE.fullmatch(variable):
            raise ValueError(f"has {variable!r} where the name of a variable belongs")
        if variable.startswith("OAKCTL_"):
            raise ValueError(f"has {variable!r}, which is set by the worker")
        return SecretUse(name_, variable, secrets.ENV)
    if target.startswith("/"):
        return SecretUse(name_, _absolute(target))
    if target and not _FILE.fullmatch(target):
        raise ValueError(f"has {target!r} where the name of a file or an absolute path belongs")
    return SecretUse(name_, target or name_)


def artifact_reference(text: str) -> str:
    """`code` of a process: ./FOLDER, FILE.tar.gz or sha256:HEX."""
    if text.startswith(SHA256_PREFIX):
        if not re.fullmatch(r"[0-9a-f]{64}", text.removeprefix(SHA256_PREFIX)):
            raise ValueError("is not sha256: and 64 hexadecimal digits")
    elif "://" in text:
        raise ValueError("is not ./FOLDER, FILE.tar.gz or sha256:HEX")
    return text
