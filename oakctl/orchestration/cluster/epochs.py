"""Epochs inside a cluster: the root's, with room for what the cluster places anew itself.

The root gives an epoch to each placement of an instance in a cluster. Inside the cluster an
instance may be placed anew without the root, and the epochs of its placements have to grow too,
and to stay below whatever the root gives out next. So the epoch that workers see, and that the
cluster shows, is

    root's epoch * SPAN + how often the cluster has placed it anew

and the order of these numbers is the order of the placements, everywhere. Belongs here: that rule
alone.
"""

from __future__ import annotations

SPAN = 1000


def first(root_epoch: int) -> int:
    """The epoch of the first placement under the root's epoch."""
    return root_epoch * SPAN


def root_epoch(epoch: int) -> int:
    """The root's part of an epoch that a cluster shows."""
    return epoch // SPAN


def successor(epoch: int) -> int | None:
    """The epoch of the next placement in the cluster; None: the root has to give a new one."""
    return epoch + 1 if (epoch + 1) % SPAN else None
