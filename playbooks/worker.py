"""Worker: the node agent, and the relay of the loopback overlay where that is the driver."""

from __future__ import annotations

from dataclasses import fields, replace

from oakctl.model import wire
from oakctl.model.config import BusAccess, Unit, WorkerConfig, endpoint
from oakctl.model.resources import Resources
from oakctl.remote import overlay_host
from oakctl.remote.declared import declared_location, declared_resources
from oakctl.remote.inputs import WorkerInputs, bus_address
from oakctl.remote.step import Remote, Step
from oakctl.remote.supervisor import changes_with, unit_step


def steps(inputs: WorkerInputs) -> list[Step]:
    return [credential(inputs), configuration(inputs), relay(), agent()]


def ca_file(remote: Remote) -> str:
    return remote.layout.etc("worker/ca.pem")


def secret_file(remote: Remote) -> str:
    return remote.layout.etc("worker/secret")


def credential(inputs: WorkerInputs) -> Step:
    def wanted(remote: Remote) -> dict[str, bytes]:
        return {
            ca_file(remote): inputs.ca_pem.encode(),
            secret_file(remote): inputs.secret.encode(),
        }

    def check(remote: Remote) -> str:
        missing = [path for path, content in wanted(remote).items() if remote.read(path) != content]
        return "missing" if missing else ""

    def apply(remote: Remote) -> None:
        for path, content in wanted(remote).items():
            remote.put(path, content)

    return Step("worker: credential for the bus", check, apply)


def configuration(inputs: WorkerInputs) -> Step:
    def check(remote: Remote) -> str:
        current = remote.read(remote.layout.etc("worker.json"))
        if current is None:
            return "missing"
        return "" if current == wire.encode(config(remote, inputs)) else "differs"

    def apply(remote: Remote) -> None:
        remote.put(remote.layout.etc("worker.json"), wire.encode(config(remote, inputs)))

    return Step("worker: configuration", check, apply)


def config(remote: Remote, inputs: WorkerInputs) -> WorkerConfig:
    declared = declared_resources(remote.facts)
    contribution, names = contributed(inputs.contribution, declared)
    overlay = overlay_host.chosen(remote, inputs.overlay)
    return WorkerConfig(
        worker=inputs.worker,
        cluster=inputs.cluster,
        prefix=str(remote.layout.prefix),
        bus=BusAccess(
            url=f"tls://{endpoint(inputs.bus_address, inputs.bus_port)}",
            tls_hostname=inputs.cluster,
            ca_file=ca_file(remote),
            user=inputs.worker,
            secret_file=secret_file(remote),
        ),
        contribution=contribution,
        declared=tuple(sorted({*inputs.declared, *names})),
        location=inputs.location or declared_location(remote.facts),
        labels=inputs.labels,
        # The address our connection came to is one of the host's own, whatever lies between.
        address=bus_address(remote) or remote.facts.reached_address,
        overlay_driver=overlay.driver,
        overlay_reason=overlay.reason,
        tunnel_port=inputs.tunnel_port,
        tunnel_endpoint=inputs.tunnel_endpoint,
        relay=inputs.relay,
        loopback_number=number(remote),
    )


def contributed(asked: Resources, declared: Resources) -> tuple[Resources, list[str]]:
    """What the host gives: what the operator set, else what it declares (with those names)."""
    amounts, names = {}, []
    for field in fields(Resources):
        amounts[field.name] = getattr(asked, field.name)
        if not amounts[field.name] and getattr(declared, field.name):
            amounts[field.name] = getattr(declared, field.name)
            names.append(field.name)
    return Resources(**amounts), names


def number(remote: Remote) -> int | None:
    text = remote.facts.environment.get("OAKCTL_LOOPBACK_NUMBER", "")
    return int(text) if text.isdigit() else None


def relay() -> Step:
    """Only the loopback overlay has one."""

    def wanted(remote: Remote) -> Unit:
        state = str(remote.layout.prefix / "state")
        argv = (remote.python, remote.layout.archive, "relay",
                "--state", state, "--number", str(number(remote)))  # fmt: skip
        return Unit("relay", argv, environment=changes_with(remote))

    step = unit_step("worker: start the relay", "relay", wanted)

    def check(remote: Remote) -> str:
        return "" if number(remote) is None else step.check(remote)

    return replace(step, check=check)


def agent() -> Step:
    def wanted(remote: Remote) -> Unit:
        layout = remote.layout
        config = layout.etc("worker.json")
        read = (config, ca_file(remote), secret_file(remote))
        return Unit(
            "agent",
            (remote.python, layout.archive, "worker", "--config", config),
            environment=changes_with(remote, *read),
        )

    return unit_step("worker: start the agent", "agent", wanted)
