"""Whole files: our own in `cases/`, and those of others where they lie beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl import sla
from oakctl.sla.check import Checked

from .build import short

OURS = Path(__file__).parent / "cases"
OTHERS = Path(__file__).parents[3] / "shared" / "cases" / "sla"

REFUSED = {
    "refused_outside_the_network": {
        "services[0].addresses.rr_ip",
        "services[0].connectivity[0].target_microservice_id",
        "services[0].connectivity[1].target_microservice_id",
    },
    "refused_names_and_ids": {
        "sla_version",
        "applications[0].application_name",
        "applications[0].application_namespace",
        "services[0].microserviceID",
        "services[0].microservice_name",
        "services[0].microservice_namespace",
        "services[0].addresses.rr_ip",
        "services[0].connectivity[0].target_microservice_id",
    },
    "refused_types": {
        "services[0].microservice_name",
        "services[0].memory",
        "services[0].port",
        "services[0].one_shot",
    },
    "refused_nothing_in_it": {"sla_version", "customerID", "applications"},
    "refused_connection_without_type": {"services[0].connectivity[0].con_constraints[0].type"},
    "refused_special_characters": {"services[0].microservice_name"},
    "refused_old_shape": {"microservices"},
}

_APPLICATION = {
    "applications[0].application_name",
    "applications[0].application_namespace",
    "services[0].microserviceID",
    "services[0].microservice_name",
    "services[0].microservice_namespace",
    "services[0].addresses.rr_ip",
    "services[0].connectivity[0].target_microservice_id",
}
OTHERS_REFUSED = {
    "ar_pipeline_old_shape": {"microservices"},
    "sla_correct_1": {
        "services[0].addresses.rr_ip",
        "services[0].connectivity[0].target_microservice_id",
        "services[0].connectivity[1].target_microservice_id",
    },
    "sla_flawed_1": {
        *_APPLICATION,
        "sla_version",
        "services[0].connectivity[1].target_microservice_id",
    },
    "sla_flawed_2": {
        *_APPLICATION,
        "services[0].port",
        "services[0].connectivity[1].target_microservice_id",
    },
    "sla_flawed_3": {"sla_version", "customerID", "applications"},
    "sla_flawed_4": {*_APPLICATION, "services[0].connectivity[0].con_constraints[0].type"},
    "sla_flawed_5": {"services[0].microservice_name"},
}


def refused_paths(found: Checked) -> set[str]:
    return {short(finding.path) for finding in found.errors}


@pytest.mark.parametrize("name", sorted(path.stem for path in OURS.glob("*.json")))
def test_our_files(name: str) -> None:
    found = sla.parse((OURS / f"{name}.json").read_bytes())
    assert refused_paths(found) == REFUSED.get(name, set())
    assert found.ok == name.startswith("accepted_")


def test_every_file_of_others() -> None:
    if not OTHERS.is_dir():
        pytest.skip("../shared/cases/sla is not beside this checkout")
    for path in sorted(OTHERS.glob("*.json")):
        found = sla.parse(path.read_bytes())
        assert refused_paths(found) == OTHERS_REFUSED.get(path.stem, set()), path.name
        assert found.ok == (path.stem not in OTHERS_REFUSED), path.name


def test_old_files_are_accepted_once_wrapped() -> None:
    old = [OURS / "refused_old_shape.json"]
    if OTHERS.is_dir():
        old.append(OTHERS / "ar_pipeline_old_shape.json")
    for path in old:
        wrapped = sla.wrap_old_shape(path.read_bytes())
        assert refused_paths(sla.parse(wrapped)) == set(), path.name
