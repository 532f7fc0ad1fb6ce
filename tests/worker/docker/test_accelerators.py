"""GPUs and TPUs: each to one container, and how Docker is told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.orchestration.worker.docker import (
    accelerators,
    request,
)
from oakctl.orchestration.worker.docker.accelerators import Accelerators, Assigned, assign
from oakctl.orchestration.worker.launch import CannotStart
from tests.worker.docker.parts import AROUND, NODE, host_config, instance

TWO = Accelerators(accelerators.NVIDIA, ("0", "1"), ("/dev/apex_0",))


def test_gpus_by_device_request() -> None:
    config = host_config(around=replace(AROUND, assigned=assign(1, 0, TWO, ["0"])))
    wanted = {"Driver": "nvidia", "DeviceIDs": ["1"], "Capabilities": [["gpu"]]}
    assert config["DeviceRequests"] == [wanted]
    assert config["Devices"] == []


def test_gpus_of_a_jetson_and_device_nodes() -> None:
    jetson = assign(1, 1, Accelerators(accelerators.JETSON, ("0",), ("/dev/apex_0",)))
    config = host_config(around=replace(AROUND, assigned=jetson))
    assert config["Runtime"] == "nvidia"
    assert [device["PathOnHost"] for device in config["Devices"]] == ["/dev/apex_0"]
    body = request.body(instance(), 1, NODE, replace(AROUND, assigned=jetson))
    assert "NVIDIA_VISIBLE_DEVICES=all" in body["Env"]
    nodes = assign(1, 0, Accelerators(accelerators.DEVICES, ("/dev/dri/card0",)))
    assert host_config(around=replace(AROUND, assigned=nodes))["Devices"] == [
        {
            "PathOnHost": "/dev/dri/card0",
            "PathInContainer": "/dev/dri/card0",
            "CgroupPermissions": "rwm",
        }
    ]


def test_gpus_that_are_declared_or_gone() -> None:
    assert assign(2, 0, Accelerators(declared=("vgpus",))) == Assigned()
    with pytest.raises(CannotStart, match="asks for 1 vgpus, 0 of 2 are free"):
        assign(1, 0, TWO, ["0", "1"])
    with pytest.raises(CannotStart, match="asks for 1 vtpus, 0 of 1"):
        assign(0, 1, TWO, (), ["/dev/apex_0"])


def test_whether_this_docker_can_hand_them_in() -> None:
    jetson = Accelerators(accelerators.JETSON, ("0",))
    nodes = Accelerators(accelerators.DEVICES, ("/dev/dri/card0",))
    assert "NVIDIA container toolkit" in accelerators.why_not(TWO, ("runc",), toolkit=False)
    assert accelerators.why_not(TWO, ("runc",), toolkit=True) == ""
    assert accelerators.why_not(TWO, ("nvidia", "runc"), toolkit=False) == ""
    assert "no runtime nvidia" in accelerators.why_not(jetson, ("runc",), toolkit=True)
    assert accelerators.why_not(jetson, ("nvidia",), toolkit=False) == ""
    assert accelerators.why_not(nodes, (), toolkit=False) == ""


@given(st.lists(st.integers(0, 3), max_size=6))
def test_no_gpu_is_given_twice(asked: list[int]) -> None:
    here = Accelerators(accelerators.NVIDIA, tuple("0123"))
    taken: list[str] = []
    for count in asked:
        try:
            taken += assign(count, 0, here, taken).gpus
        except CannotStart:
            assert count > len(here.gpus) - len(taken)
    assert len(taken) == len(set(taken))
