"""Which images go: only those that we brought, when nobody wants them any more. Pure.

Belongs here: the ledger of images that were pulled or loaded for instances, and the decision.
Does not belong here: removing (`images`). An image that was on the node before us is not in the
ledger and stays.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

KEEP_UNUSED_S = 24 * 3600.0
PRESSED_BELOW = 0.10  # share of free space on Docker's file system
LEAST_UNUSED_S = 120.0  # also under pressure: a restart of an application does not pull again


@dataclass(frozen=True)
class Brought:
    """One image of ours. Its reference is its id where it has no name of its own any more."""

    reference: str
    id: str
    unused_since: float = 0.0  # 0: wanted

    @property
    def nameless(self) -> bool:
        """A newer image has its name, or the name was somebody else's before us."""
        return self.reference == self.id


@dataclass(frozen=True)
class Ledger:
    """All images of ours, as stored."""

    images: tuple[Brought, ...] = ()

    def with_image(self, reference: str, id_: str) -> Ledger:
        """After it was pulled or loaded. One of ours that had the name before is kept by its id."""
        others = [
            replace(image, reference=image.id)
            if image.reference == reference and image.id != id_
            else image
            for image in self.images
            if (image.reference, image.id) not in ((reference, id_), (id_, id_))
        ]
        return Ledger((*others, Brought(reference, id_)))

    def has(self, reference: str) -> bool:
        """Whether we brought it."""
        return any(image.reference == reference for image in self.images)

    def without(self, reference: str) -> Ledger:
        """After it is gone."""
        return Ledger(tuple(image for image in self.images if image.reference != reference))


def noted(ledger: Ledger, wanted: Set[str], now: float) -> Ledger:
    """The ledger with the time since when each image is not wanted."""
    return Ledger(
        tuple(
            replace(image, unused_since=0.0)
            if image.reference in wanted
            else replace(image, unused_since=image.unused_since or now)
            for image in ledger.images
        )
    )


def removable(
    ledger: Ledger, now: float, free_share: float, keep_s: float = KEEP_UNUSED_S
) -> tuple[Brought, ...]:
    """What may go now, the longest unused first: all beyond `keep_s`; under pressure, one more."""
    unused = sorted(
        (image for image in ledger.images if image.unused_since),
        key=lambda image: (image.unused_since, image.reference),
    )
    old = [image for image in unused if now - image.unused_since >= keep_s]
    if old or free_share >= PRESSED_BELOW:
        return tuple(old)
    return tuple(i for i in unused if now - i.unused_since >= LEAST_UNUSED_S)[:1]
