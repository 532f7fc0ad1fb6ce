"""Who has which of a service address's places: each new flow takes one of them at random. Pure.

Belongs here: shares in proportion to weights, and that as few places as possible change hands, so
that a client that is bound to a place keeps its instance. Does not belong here: the form of
elements (`elements`), what the weights are (`planning`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

# The least common multiple of 1 to 6, so that up to six instances get exactly the same share, and
# more of them the same within one place.
PLACES = 60

Places = tuple[str, ...]  # an instance for each, or none at all


def shared(weights: Mapping[str, int], before: Sequence[str] = ()) -> Places:
    """The instance of each place, in proportion to `weights`, within one place of it.

    Where no weight is more than 0 all count the same. Of `before` only as much changes as that
    needs: when an instance leaves, the others keep all they have. Without it, it is the same
    everywhere.
    """
    if not weights:
        return ()
    if len(weights) == 1:
        return tuple(weights) * PLACES
    held = Counter(each for each in before if each in weights)
    lacks = _quotas(weights, held)
    found = list(before) if before else [""] * PLACES
    for place, instance in enumerate(found):
        if lacks.get(instance, 0) > 0:
            lacks[instance] -= 1
        else:
            found[place] = ""
    # In turns: a neighbour of a place then is somebody else's, whatever chooses among them.
    waiting = [instance for instance in sorted(lacks) if lacks[instance]]
    turn = 0
    for place, instance in enumerate(found):
        if not instance:
            turn %= len(waiting)
            found[place] = chosen = waiting[turn]
            lacks[chosen] -= 1
            if lacks[chosen]:
                turn += 1
            else:
                waiting.pop(turn)
    return tuple(found)


def _quotas(weights: Mapping[str, int], held: Mapping[str, int]) -> dict[str, int]:
    """How many places each has: its share rounded down, or one more; first those who have one."""
    counted = (
        weights if any(weight > 0 for weight in weights.values()) else dict.fromkeys(weights, 1)
    )
    total = sum(max(0, weight) for weight in counted.values())
    exact = {name: divmod(PLACES * max(0, weight), total) for name, weight in counted.items()}
    quotas = {name: whole for name, (whole, _) in exact.items()}
    left = PLACES - sum(quotas.values())
    entitled = [name for name, (_, rest) in exact.items() if rest]
    entitled.sort(key=lambda name: (held.get(name, 0) <= quotas[name], -exact[name][1], name))
    for name in entitled[:left]:
        quotas[name] += 1
    return quotas
