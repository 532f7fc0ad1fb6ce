"""A small fleet and a host's means, for the pure parts."""

from __future__ import annotations

from oakctl.chaos.means import OURS, Means
from oakctl.chaos.targets import Fleet
from oakctl.model.instance import InstanceState
from oakctl.model.views import ClusterView, HostView, InstanceView, WorkerView

REAL = Means(
    uid=1000,
    boot="b-1",
    prefix=OURS,
    systemd=True,
    systemd_run=True,
    nft=True,
    tc=True,
    client="192.168.1.5",
    ssh_port=22,
    links=(("eth0", "192.168.1.20"), ("eth0", "fd00::20")),
    disk_mb=32_000,
)
LAB = Means(
    uid=1000, boot="b-0", prefix="/home/lab/.oakctl", plain=True, loopback=True, disk_mb=99_000
)
INSTANCE = "shop.demo.Web.demo.instance.0"


def cluster(name: str, host: str) -> ClusterView:
    return ClusterView(name, "ready", "", host, "rom", None, 1, 1, 0, 0.0)


def instance(name: str, cluster: str, worker: str, state: InstanceState) -> InstanceView:
    job, _, number = name.rpartition(".instance.")
    return InstanceView(name, job, int(number), 1, state, True, 0.0, cluster, worker)


FLEET = Fleet(
    hosts=(
        HostView("hub", "192.168.1.2"),
        HostView("pi-1", "192.168.1.20"),
        HostView("pi-2", "10.0.0.7", jump=("me@192.168.1.20",)),
        HostView("lab-1", "127.2.0.1", 2222, lab="demo"),
        HostView("spare", "192.168.1.99"),
    ),
    clusters=(cluster("edge", "hub"), cluster("far", "lab-1")),
    workers=(
        WorkerView("w1", "edge", "pi-1", "ready", 1),
        WorkerView("w2", "edge", "pi-2", "ready", 0),
        WorkerView("w1", "far", "lab-1", "ready", 0),
        WorkerView("w3", "edge", "", "ready", 0),
    ),
    instances=(
        instance(INSTANCE, "edge", "w1", InstanceState.RUNNING),
        instance("shop.demo.Web.demo.instance.1", "", "", InstanceState.REQUESTED),
    ),
)
