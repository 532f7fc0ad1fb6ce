"""What a node offers and a service asks for, and where on earth they are.

Belongs here: quantities with units and their arithmetic. Does not belong here: who gets what.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

EARTH_RADIUS_KM = 6371.0


@dataclass(frozen=True)
class Resources:
    """Amounts of everything that is reserved. Zero asks for nothing and limits nothing."""

    vcpus: float = 0.0  # cores
    memory_mb: int = 0  # MiB
    storage_mb: int = 0  # MiB
    vgpus: int = 0
    vtpus: int = 0
    bandwidth_in_kbit: int = 0  # kbit/s
    bandwidth_out_kbit: int = 0  # kbit/s

    def __add__(self, other: Resources) -> Resources:
        return Resources(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Resources) -> Resources:
        return Resources(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))

    def shortfalls(self, free: Resources) -> dict[str, tuple[float, float]]:
        """What of this request `free` cannot give: field name → (asked, free). Empty: it fits.

        A field that is not asked for is never short, whatever `free` says of it.
        """
        short: dict[str, tuple[float, float]] = {}
        for field in fields(self):
            asked, available = getattr(self, field.name), getattr(free, field.name)
            # Fractions of cores are added and subtracted often; a rounding error is no shortage.
            if asked > 0 and asked > available + 1e-9:
                short[field.name] = (asked, available)
        return short


@dataclass(frozen=True)
class Location:
    """A point on earth, in degrees (WGS 84)."""

    latitude: float
    longitude: float

    def distance_km(self, other: Location) -> float:
        """Great-circle distance in kilometres (haversine)."""
        lat1, lat2 = math.radians(self.latitude), math.radians(other.latitude)
        half_dlat = (lat2 - lat1) / 2
        half_dlon = math.radians(other.longitude - self.longitude) / 2
        h = math.sin(half_dlat) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(half_dlon) ** 2
        return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(h)))
