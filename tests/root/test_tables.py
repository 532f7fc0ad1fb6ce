"""Which tables go to which cluster."""

from __future__ import annotations

from dataclasses import replace

from oakctl.model.service import Connectivity, ServiceSpec
from oakctl.orchestration.root.tables import due, interested
from tests.root.fake_cluster import table

REC = ServiceSpec("ar.demo.Rec.demo", "ar.demo", "process", "")
OBJ = replace(REC, job_name="ar.demo.Obj.demo", connectivity=(Connectivity(REC.job_name),))
SPECS = {spec.job_name: spec for spec in (REC, OBJ)}


def test_a_cluster_is_told_of_what_its_instances_talk_to_elsewhere() -> None:
    interest = interested([("edge", OBJ.job_name), ("cloud", REC.job_name)], SPECS)
    tables = [table(REC.job_name, "cloud", 2), table(OBJ.job_name, "edge", 1)]
    found = due(tables, interest, {})
    assert set(found) == {("edge", REC.job_name, "cloud")}


def test_only_a_newer_generation_is_sent_again() -> None:
    interest = interested([("edge", OBJ.job_name)], SPECS)
    route = ("edge", REC.job_name, "cloud")
    assert due([table(REC.job_name, "cloud", 2)], interest, {route: 2}) == {}
    assert set(due([table(REC.job_name, "cloud", 3)], interest, {route: 2})) == {route}
