"""Applying: every address of a descriptor is known before its first instance is placed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from oakctl.errors import Conflict, NotFound
from oakctl.model.service import Connectivity, ServiceAddresses, ServiceSpec
from oakctl.orchestration.root import applying
from oakctl.orchestration.root.store import wanted
from oakctl.orchestration.root.store.database import open_database
from oakctl.sla.convert import Application


def application(name: str, *services: ServiceSpec) -> Application:
    return Application(f"{name}.ns", "", services)


def service(app: str, name: str, *targets: str, rr_ip: str = "") -> ServiceSpec:
    return ServiceSpec(
        f"{app}.ns.{name}.ns",
        f"{app}.ns",
        "process",
        "0" * 64,
        connectivity=tuple(Connectivity(target) for target in targets),
        addresses=ServiceAddresses(rr_ip=rr_ip),
    )


def test_connections_carry_their_targets_addresses_in_any_order(tmp_path: Path) -> None:
    database = open_database(tmp_path / "root.db")
    first = application(
        "a",
        service("a", "Front", "a.ns.Back.ns", "b.ns.Far.ns"),
        service("a", "Back", rr_ip="10.30.77.7"),
    )
    second = application("b", service("b", "Far", "a.ns.Back.ns"))
    applying.apply(database, [first, second], (), 1.0)
    specs = {row.spec.job_name: row.spec for row in wanted.services(database)}
    for spec in specs.values():
        for connection in spec.connectivity:
            assert connection.addresses == specs[connection.target].addresses
            assert connection.addresses.rr_ip
            assert connection.addresses.closest_ip
    assert specs["b.ns.Far.ns"].connectivity[0].addresses.rr_ip == "10.30.77.7"
    database.close()


def test_a_later_application_reaches_an_earlier_one(tmp_path: Path) -> None:
    database = open_database(tmp_path / "root.db")
    applying.apply(database, [application("a", service("a", "Back"))], (), 1.0)
    later = application("b", service("b", "Front", "a.ns.Back.ns"))
    assert applying.apply(database, [later], (), 2.0).created == ("b.ns",)
    assert applying.apply(database, [later], (), 3.0).created == ()
    specs = {row.spec.job_name: row.spec for row in wanted.services(database)}
    reached = specs["b.ns.Front.ns"].connectivity[0].addresses
    assert reached == specs["a.ns.Back.ns"].addresses
    database.close()


def test_refused_whole(tmp_path: Path) -> None:
    database = open_database(tmp_path / "root.db")
    applying.apply(database, [application("a", service("a", "S", rr_ip="10.30.77.7"))], (), 1.0)
    missing = application("b", service("b", "T", "a.ns.Nowhere.ns"))
    with pytest.raises(NotFound):
        applying.apply(database, [missing], (), 2.0)
    taken = application("b", service("b", "T", rr_ip="10.30.77.7"))
    with pytest.raises(Conflict, match=r"10\.30\.77\.7"):
        applying.apply(database, [taken], (), 2.0)
    database.close()


def test_the_least_loaded_address_is_given_on_demand_and_given_back(tmp_path: Path) -> None:
    database = open_database(tmp_path / "root.db")

    def asking(app: str, least: str) -> Application:
        addresses = ServiceAddresses(least_ip=least)
        return application(app, replace(service(app, "S"), addresses=addresses))

    def least() -> dict[str, str]:
        rows = wanted.services(database)
        return {row.spec.application: row.spec.addresses.least_ip for row in rows}

    applying.apply(database, [asking("a", "auto"), asking("b", ""), asking("c", "auto")], (), 1.0)
    found = least()
    assert found["b.ns"] == ""
    assert found["a.ns"].startswith("10.30.")
    assert len(set(found.values())) == 3
    assert applying.apply(database, [asking("a", "auto")], (), 2.0).created == ()
    with pytest.raises(Conflict, match="least_ip"):
        applying.apply(database, [asking("d", found["a.ns"])], (), 3.0)
    applying.delete(database, "a.ns", 4.0)
    applying.apply(database, [asking("d", found["a.ns"])], (), 5.0)
    assert least()["d.ns"] == found["a.ns"]
    database.close()
