"""Words for quantities, and text from elsewhere made harmless.

Belongs here: how an age, an amount and a foreign string are written everywhere. Does not belong
here: which of them are shown together.
"""

from __future__ import annotations

import datetime
import unicodedata
from collections.abc import Collection, Iterator

from oakctl.model.resources import Location, Resources
from oakctl.model.service import Autoscale
from oakctl.model.views import ServiceView

LONGEST_LINE = 4096  # characters of foreign text in one place; the rest is counted, not shown

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def clean(text: str, longest: int = LONGEST_LINE) -> str:
    """`text` on one line, without control or direction characters, and not longer than `longest`.

    Text from machines may carry escape sequences, line breaks or 90,000 characters.
    """
    if len(text) <= longest and text.isascii() and text.isprintable():
        return text  # nearly always; thousands of these are drawn in a second
    # Only what can be shown is looked at: a very long text costs no more than a long one.
    kept, rest = text[: longest + 1], len(text) - longest
    shown = "".join(
        " " if character in "\t\n\r" else character
        for character in kept[:longest]
        if character in "\t\n\r" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co")
    )
    return f"{shown}… (+{rest} characters)" if rest > 0 else shown


def duration(seconds: float) -> str:
    """A span of time in one or two units: "0.4s", "12s", "3m20s", "5h02m", "9d"."""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f}s".replace(".0s", "s")
    whole = int(seconds)
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02}s"
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d"


def age(since: float, now: float) -> str:
    """How long ago `since` was, both in seconds since the epoch; 0 is "never"."""
    if since <= 0:
        return "never"
    elapsed = max(0.0, now - since)
    # Tenths flicker on a screen that is drawn each second.
    return f"{int(elapsed)}s" if elapsed < 10 else duration(elapsed)


def clock(at: float, form: str = "%H:%M:%S") -> str:
    """A time in seconds since the epoch, as the reader's clock shows it."""
    try:
        return datetime.datetime.fromtimestamp(at).astimezone().strftime(form)
    except (OverflowError, ValueError, OSError):  # from a machine whose clock is anywhere
        return "?"


def number(value: float) -> str:
    """Up to two decimals, and none where there is nothing to say: "2", "0.25"."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def memory(mebibytes: float) -> str:
    """MiB or GiB: "512 MiB", "7.8 GiB"."""
    if mebibytes >= 10 * 1024:
        return f"{number(round(mebibytes / 1024, 1))} GiB"
    return f"{mebibytes:.0f} MiB"


def file_size(size: int) -> str:
    """Bytes as "3 KiB" or "14.2 MiB"."""
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{-(-size // 1024)} KiB"


def amounts(resources: Resources) -> str:
    """All that is asked for or offered: "0.5 vcpus, 64 MiB, 1 vgpu"; "-" for nothing."""
    parts = []
    if resources.vcpus:
        parts.append(f"{number(resources.vcpus)} vcpus")
    if resources.memory_mb:
        parts.append(memory(resources.memory_mb))
    for value, word in ((resources.vgpus, "vgpu"), (resources.vtpus, "vtpu")):
        if value:
            parts.append(f"{value} {word}{'s' if value != 1 else ''}")
    if resources.storage_mb:
        parts.append(f"{memory(resources.storage_mb)} storage")
    if resources.bandwidth_in_kbit:
        parts.append(f"{resources.bandwidth_in_kbit} kbit/s in")
    if resources.bandwidth_out_kbit:
        parts.append(f"{resources.bandwidth_out_kbit} kbit/s out")
    return ", ".join(parts) or "-"


def used_of(used: Resources, capacity: Resources, declared: Collection[str] = ()) -> str:
    """What is taken of a capacity: "cpu 0.5/2  mem 64/512  gpu 1/1 declared".

    `declared` names fields of Resources that are not really there; of a device that is said.
    """
    return "  ".join(
        (
            f"cpu {number(used.vcpus)}/{number(capacity.vcpus)}",
            f"mem {used.memory_mb}/{capacity.memory_mb}",
            *devices_of(used, capacity, declared),
        )
    )


def devices_of(used: Resources, capacity: Resources, declared: Collection[str]) -> Iterator[str]:
    """The devices in `used_of`, those that there are: "gpu 1/1 declared"."""
    for name, word in (("vgpus", "gpu"), ("vtpus", "tpu")):
        taken, there = getattr(used, name), getattr(capacity, name)
        if taken or there:
            yield f"{word} {taken}/{there}" + " declared" * (name in declared)


def place(location: Location | None) -> str:
    """A location in degrees, "-" where there is none."""
    if location is None:
        return "-"
    return f"{location.latitude:.3f},{location.longitude:.3f}"


def host(name: str) -> str:
    """A worker's host; one that joined by a token has none that we know."""
    return name or "joined by token"


def count(amount: int, noun: str) -> str:
    """ "1 worker", "2 workers"."""
    return f"{amount} {noun}{'' if amount == 1 else 's'}"


def readiness(view: ServiceView) -> str:
    """ "3/3", and the bounds of a service that scales by itself: "3/3 (auto 1–5)"."""
    rules = view.spec.autoscale
    bounds = f" (auto {rules.minimum}–{rules.maximum})" if rules is not None else ""
    return f"{view.ready}/{view.wanted}{bounds}"


def scaling(rules: Autoscale | None) -> str:
    """Bounds and targets: "1 to 5 instances, queue_delay_ms 40"; "-": it does not."""
    if rules is None:
        return "-"
    targets = ", ".join(f"{metric} {target:g}" for metric, target in rules.targets.items())
    return f"{rules.minimum} to {rules.maximum} instances, {targets}"


def short_job(job_name: str) -> str:
    """The service's own name out of `application.ns.service.ns`; else the name as it is."""
    parts = job_name.split(".")
    return parts[2] if len(parts) == 4 else job_name


def short_instance(name: str) -> str:
    """ "Rec.0" for `ar.default.Rec.default.instance.0`; else the name as it is."""
    job, marker, number_text = name.rpartition(".instance.")
    return f"{short_job(job)}.{number_text}" if marker else name
