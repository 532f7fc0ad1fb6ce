"""Whether a root may have what it asks for: the operator's rules, its grant, and what it has. Pure.

Two say what a root may do, and both have to agree: the cluster operator's file on his own host,
and the grant by which a root was let in. Rules hold for what is new: an instance that is here
goes on when they change, also on another worker. Belongs here: what is new of an offer or a share,
and what a root has already. Does not belong here: the comparison (`scheduling.admission`), reading
the file (`admission_file`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from oakctl.model.messages import Offer, OfferAnswer, Share, Verdict
from oakctl.model.resources import Resources
from oakctl.model.roots import EVERYBODY, OWNER, RootRules
from oakctl.model.service import ServiceAddresses, ServiceSpec
from oakctl.orchestration.cluster import accounts, epochs
from oakctl.orchestration.cluster.state import State
from oakctl.orchestration.scheduling import admission as rules_of

MOST = 1e9  # of a resource that no rule bounds


@dataclass(frozen=True)
class Policy:
    """The operator's file: rules by root. `fault`: why it can't be read; nothing new then."""

    rules: Mapping[str, RootRules] = field(default_factory=dict)
    fault: str = ""


def rules_for(state: State, policy: Policy, account: str) -> tuple[RootRules, ...]:
    """Every set of rules that the account is held to: each has to admit."""
    if not account:
        return (policy.rules[OWNER],) if OWNER in policy.rules else ()
    in_file = policy.rules.get(account, policy.rules.get(EVERYBODY))
    grant = state.roots.get(account)
    return tuple(rules for rules in (in_file, grant.rules if grant else None) if rules is not None)


def of_offer(state: State, policy: Policy, asked: Offer) -> tuple[str, ...]:
    """Why an offer is not admitted; empty: it may be, or it is here already."""
    spec = asked.service
    record = state.instances.get((spec.job_name, asked.number))
    if record is not None and epochs.root_epoch(record.epoch) >= asked.epoch:
        return ()  # answered again, or late: it changes nothing
    return _objections(state, policy, spec, {asked.number})


def of_share(state: State, policy: Policy, wanted: Share) -> tuple[str, ...]:
    """Why a share is not admitted; empty: it may be. Taking away is always admitted."""
    spec = wanted.service
    if spec is None or not wanted.instances:
        return (
            address_taken(state, accounts.owner_of(wanted.job_name), spec.addresses)
            if spec is not None
            else ()
        )
    fresh = {n for n, epoch in wanted.instances.items() if _is_new(state, wanted, n, epoch)}
    known = state.spec(wanted.job_name)
    if not fresh and known is not None and _demands(known) == _demands(spec):
        return ()
    return _objections(state, policy, spec, set(wanted.instances))


def refused(cluster: str, reasons: tuple[str, ...]) -> OfferAnswer:
    """The answer to an offer that is not admitted."""
    verdict = Verdict(cluster, fits=False, reasons=reasons)
    return OfferAnswer(False, verdicts=(verdict,), reason="; ".join(reasons))


def uses(state: State, account: str) -> Resources:
    """What the account's instances have: running, reserved, or being stopped."""
    total = Resources()
    for _, spec in _instances(state, account):
        total = total + spec.requests
    return total


def left(state: State, policy: Policy, account: str) -> Resources:
    """How much of each bounded resource the account may still have."""
    have, capacity = uses(state, account), capacity_of(state)
    found: dict[str, float] = {}
    for bound in rules_of.BOUNDED:
        limits = [
            limit
            for rules in rules_for(state, policy, account)
            if (limit := rules_of.limit_of(rules, bound, capacity)) is not None
        ]
        remaining = min(limits, default=MOST) - getattr(have, bound.field)
        found[bound.field] = max(0.0, remaining)
    return Resources(vcpus=found["vcpus"], memory_mb=int(found["memory_mb"]))


def capacity_of(state: State) -> Resources:
    """What the cluster's workers have, those that are away too: a share does not flicker."""
    total = Resources()
    for worker in state.workers.values():
        if worker.facts is not None:
            total = total + worker.facts.capacity
    return total


def _objections(
    state: State, policy: Policy, spec: ServiceSpec, numbers: set[int]
) -> tuple[str, ...]:
    if policy.fault:
        return (f"{rules_of.PREFIX}nothing new is admitted: {policy.fault}",)
    account = accounts.owner_of(spec.job_name)
    who = account or OWNER
    seen = replace(spec, job_name=accounts.outside(spec.job_name))
    others, wanted = _amounts(state, account, spec, numbers)
    found: list[str] = []
    for rules in rules_for(state, policy, account):
        found += rules_of.objections(who, rules, seen)
        found += rules_of.excess(who, rules, wanted, others, capacity_of(state))
    found += address_taken(state, account, spec.addresses)
    return tuple(dict.fromkeys(found))


def _amounts(
    state: State, account: str, spec: ServiceSpec, numbers: set[int]
) -> tuple[Resources, Resources]:
    """What the account has in other services and instances, and what it wants of this one.

    Instances of the service that are here already count as they will be.
    """
    others = Resources()
    # An offer of one more is judged with the others of its service as in use.
    for key, known in _instances(state, account):
        if key[0] != spec.job_name:
            others = others + known.requests
        elif key[1] not in numbers:
            others = others + spec.requests
    wanted = Resources()
    for _ in numbers:
        wanted = wanted + spec.requests
    return others, wanted


def address_taken(state: State, account: str, addresses: ServiceAddresses) -> tuple[str, ...]:
    """Why a service of the account can't have these addresses; empty: it can.

    Two roots lease service addresses without knowing of each other; nodes have one table.
    """
    wanted = set(addresses.given)
    if not wanted:
        return ()
    for job_name, taken in _addresses(state):
        found = wanted & set(taken.given)
        if found and accounts.owner_of(job_name) != account:
            return (f"{rules_of.PREFIX}service address {min(found)} is another root's here",)
    return ()


def addresses_of_others(state: State, account: str) -> frozenset[str]:
    """The service addresses that other roots than this one have here."""
    return frozenset(
        address
        for job_name, taken in _addresses(state)
        if accounts.owner_of(job_name) != account
        for address in taken.given
    )


def _addresses(state: State) -> Iterator[tuple[str, ServiceAddresses]]:
    for job_name, service in state.services.items():
        if service.spec is not None:
            yield job_name, service.spec.addresses
    for (job_name, _), table in state.foreign.items():
        yield job_name, table.addresses


def _instances(state: State, account: str) -> Iterator[tuple[tuple[str, int], ServiceSpec]]:
    for key, record in state.instances.items():
        spec = state.spec(record.job_name)
        if spec is not None and accounts.owner_of(record.job_name) == account:
            yield key, spec


def _is_new(state: State, wanted: Share, number: int, epoch: int) -> bool:
    record = state.instances.get((wanted.job_name, number))
    return record is None or record.stopping or epochs.root_epoch(record.epoch) < epoch


def _demands(spec: ServiceSpec) -> object:
    """All of a specification that rules speak of, and what is run."""
    return (
        spec.code, spec.virtualization, spec.images, spec.requests, spec.privileged,
        spec.capabilities, spec.devices, spec.volumes, spec.addresses,
    )  # fmt: skip
