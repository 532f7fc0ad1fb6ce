"""What excludes a worker: one small function for each cause, in one registry.

A filter returns the reason in words, or an empty text when it has no objection. All filters are
asked, so that a user sees every obstacle at once. Does not belong here: what makes one worker
better than another (`policies`).
"""

from __future__ import annotations

from collections.abc import Callable

from oakctl.model import architectures, images
from oakctl.model.resources import Location
from oakctl.model.service import Constraint, ServiceSpec
from oakctl.orchestration.scheduling import grants, wording
from oakctl.orchestration.scheduling.candidate import READY, Candidate, Surroundings

Filter = Callable[[ServiceSpec, Candidate, Surroundings], str]


def liveness(_spec: ServiceSpec, candidate: Candidate, _around: Surroundings) -> str:
    """Only a worker that is heard takes instances."""
    return "" if candidate.status == READY else f"worker is {candidate.status}"


def cordon(_spec: ServiceSpec, candidate: Candidate, _around: Surroundings) -> str:
    """The operator keeps new instances away."""
    return "worker is cordoned" if candidate.cordoned else ""


def runtime(spec: ServiceSpec, candidate: Candidate, _around: Surroundings) -> str:
    """The worker needs a runtime for the service's virtualization."""
    if spec.virtualization in candidate.facts.runtimes:
        return ""
    offered = wording.listed(candidate.facts.runtimes)
    why = candidate.facts.containers.reason if spec.virtualization == "container" else ""
    return f"virtualization {spec.virtualization} is not among {offered}" + (why and f": {why}")


def granted(spec: ServiceSpec, candidate: Candidate, _around: Surroundings) -> str:
    """What a container asks of the host beyond nothing is given by the host's operator."""
    if spec.virtualization != "container":
        return ""
    return "; ".join(grants.refusals(spec, candidate.facts.containers.grants))


def accelerators(spec: ServiceSpec, candidate: Candidate, _around: Surroundings) -> str:
    """A GPU that a worker has is of use to a container only if it can be handed in."""
    facts = candidate.facts
    if spec.virtualization != "container" or not spec.requests.vgpus:
        return ""
    if facts.containers.gpus or "vgpus" in facts.declared or not facts.capacity.vgpus:
        return ""
    return "its GPUs cannot be handed to containers: Docker has no NVIDIA runtime there"


def image_platform(spec: ServiceSpec, candidate: Candidate, around: Surroundings) -> str:
    """An image has to have been built for the worker's platform: of a pushed one that is known
    before, of a registry's once a worker has asked for it."""
    own = candidate.facts.containers.platform
    spec = spec.on(architectures.of_node(spec, candidate.facts))
    if own in around.unfit:
        return f"image {spec.code} has no {own} in its registry, as a worker has found"
    if not spec.images or not own or images.for_platform(spec.images, own):
        return ""
    return f"image {spec.code} has no {own}: it is for {wording.listed(_platforms(spec))}"


def _platforms(spec: ServiceSpec) -> tuple[str, ...]:
    return tuple(sorted(image.platform for image in spec.images))


def architecture(spec: ServiceSpec, candidate: Candidate, _around: Surroundings) -> str:
    """The service's code has to run on the worker's CPU."""
    own = architectures.of_node(spec, candidate.facts)
    if not spec.architectures or own in spec.architectures:
        return ""
    return f"architecture {own} is not among {wording.listed(spec.architectures)}"


def secrets(spec: ServiceSpec, candidate: Candidate, _around: Surroundings) -> str:
    """Who is given secrets needs a worker that has memory to keep them in."""
    if not spec.secrets or candidate.facts.secrets:
        return ""
    why = candidate.facts.secrets_reason or "its agent is of a release without them"
    return f"worker takes no secrets: {why}"


def direct(spec: ServiceSpec, candidate: Candidate, around: Surroundings) -> str:
    """`direct` names the workers, the clusters, or both."""
    for constraint in _of_kind(spec, "direct"):
        reason = _outside_clusters(constraint, around.cluster)
        if reason:
            return reason
        # A node may be named alone or with its cluster.
        names = {candidate.name, f"{around.cluster}/{candidate.name}"}
        if constraint.nodes and names.isdisjoint(constraint.nodes):
            return f"not named by the direct constraint ({wording.listed(constraint.nodes)})"
    return ""


def clusters(spec: ServiceSpec, _candidate: Candidate, around: Surroundings) -> str:
    """`clusters` names the clusters that may be used."""
    reasons = (_outside_clusters(c, around.cluster) for c in _of_kind(spec, "clusters"))
    return next((reason for reason in reasons if reason), "")


def geo(spec: ServiceSpec, candidate: Candidate, _around: Surroundings) -> str:
    """The worker has to lie within the radius of every `geo` constraint."""
    for constraint in _of_kind(spec, "geo"):
        if constraint.location is None:
            continue
        reason = _too_far(candidate.facts.location, (constraint.location,), constraint.threshold)
        if reason:
            return reason
    return ""


def geo_to_peers(spec: ServiceSpec, candidate: Candidate, around: Surroundings) -> str:
    """Some instance of a service it talks to has to be near enough.

    While none is placed there is nothing to be far from: whichever comes second is bound.
    """
    for link in spec.connectivity:
        places = around.peers.get(link.target, ())
        for constraint in link.constraints:
            if constraint.kind != "geo" or not places:
                continue
            reason = _too_far(candidate.facts.location, places, constraint.threshold)
            if reason:
                return f"{link.target}: {reason}"
    return ""


def host_ports(spec: ServiceSpec, candidate: Candidate, _around: Surroundings) -> str:
    """A port of the host leads to one service; instances of the same service share it, but not
    where there is no overlay: there each instance needs the port for itself."""
    alone = candidate.facts.overlay_driver == "host"
    for protocol, port in claims(spec, candidate.facts.overlay_driver):
        holder = candidate.host_ports.get((protocol, port))
        if holder and alone:
            place = f"port {port}/{protocol} of the host"
            return f"{place} is taken by {holder}: this worker has no overlay"
        if holder and holder != spec.job_name:
            return f"port {port}/{protocol} of the host leads to {holder}"
    return ""


def claims(spec: ServiceSpec, overlay_driver: str) -> tuple[tuple[str, int], ...]:
    """Ports of the host that an instance takes: (protocol, port).

    With an overlay those that are published. Without one an instance is reached at the host's
    own address: a process listens there itself, on the ports that it knows; a container has a
    network of its own, and what it publishes decides, so that two may both listen on 80.
    """
    if overlay_driver != "host":
        return tuple((port.protocol, port.host) for port in spec.ports if port.host)
    if spec.virtualization == "container":
        published = [(port.protocol, port.host or port.container) for port in spec.ports]
        return (*published, *((port.protocol, port.container) for port in spec.listen))
    inside = [(port.protocol, port.container) for port in spec.all_ports()]
    published = [(port.protocol, port.host) for port in spec.ports if port.host]
    return tuple(dict.fromkeys((*inside, *published)))


def _resource(field: str) -> Filter:
    def enough(spec: ServiceSpec, candidate: Candidate, _around: Surroundings) -> str:
        return wording.short_of(spec.requests, candidate.free, field)

    enough.__name__ = field
    enough.__doc__ = f"The worker has to have enough {wording.UNITS[field]} left."
    return enough


def _of_kind(spec: ServiceSpec, kind: str) -> tuple[Constraint, ...]:
    return tuple(constraint for constraint in spec.constraints if constraint.kind == kind)


def _outside_clusters(constraint: Constraint, cluster: str) -> str:
    if not cluster or not constraint.clusters or cluster in constraint.clusters:
        return ""
    allowed = wording.listed(constraint.clusters)
    return f"cluster {cluster} is not among {allowed} ({constraint.kind} constraint)"


def _too_far(own: Location | None, places: tuple[Location, ...], limit_km: float) -> str:
    if own is None:
        return "location not known"
    nearest = min(own.distance_km(place) for place in places)
    if nearest <= limit_km:
        return ""
    return f"{nearest:.1f} km away, at most {wording.amount(limit_km)} km allowed"


# A filter for latency takes its place here once round trips are measured; until then
# `wording.not_enforced` says on every verdict that such a constraint was not looked at.
FILTERS: tuple[Filter, ...] = (
    liveness,
    cordon,
    runtime,
    granted,
    accelerators,
    architecture,
    image_platform,
    secrets,
    direct,
    clusters,
    geo,
    geo_to_peers,
    host_ports,
    *(_resource(field) for field in wording.UNITS),
)


def objections(spec: ServiceSpec, candidate: Candidate, around: Surroundings) -> tuple[str, ...]:
    """Every reason against this worker; empty: it can run the service."""
    reasons = (check(spec, candidate, around) for check in FILTERS)
    return tuple(dict.fromkeys(reason for reason in reasons if reason))
