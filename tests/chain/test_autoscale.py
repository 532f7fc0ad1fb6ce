"""A service that scales by itself, on the loopback lab, under load that its own clients make."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.client import artifact
from oakctl.client.root import RootClient
from oakctl.errors import Conflict
from oakctl.model.requests import ApplyRequest
from oakctl.model.views import InstanceView, ServiceView
from oakctl.paths import cache_directory
from tests.chain.fleet import fleet, until

pytestmark = pytest.mark.slow

DESCRIPTOR = """
sla_version: v2.0
customerID: Admin
applications:
  - application_name: calm
    application_namespace: test
    microservices:
      - microservice_name: Work
        microservice_namespace: test
        virtualization: process
        code: ./app
        cmd: [work]
        memory: 32
        oakctl:
          vcpus: 0.1
          listen: [7000/tcp]
          ready: {tcp: 7000}
          metrics: {port: 9100}
          autoscale:
            min: 1
            max: 2
            target: {queue_delay_ms: 60}
            up: {stabilisation: 2, cooldown: 2}
            down: {stabilisation: 4, cooldown: 2}
      - microservice_name: Load
        microservice_namespace: test
        virtualization: process
        code: ./app
        cmd: [load]
        memory: 32
        connectivity: [{target_microservice_id: Work, con_constraints: []}]
        oakctl: {vcpus: 0.1, replicas: 0}
"""
# Each request takes the one hand for 50 ms: its instance is the bottleneck, however fast the
# machine is. Without a request for 2 s nothing waits.
PROGRAM = """
import http.server, os, socket, socketserver, sys, threading, time
hand, delays = threading.Lock(), []
class Work(socketserver.BaseRequestHandler):
    def handle(self):
        came = time.monotonic()
        with hand:
            delays.append((time.monotonic(), 1000 * (time.monotonic() - came)))
            time.sleep(0.05)
        self.request.sendall(b"done")
class Metrics(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        recent = [ms for at, ms in delays if at > time.monotonic() - 2]
        text = f"work_queue_delay_ms {sum(recent) / max(1, len(recent))}\\n"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *_):
        pass
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 64
def ask():
    while True:
        try:
            with socket.create_connection((os.environ["OAKCTL_ADDR_WORK"], 7000), 10) as made:
                made.recv(16)
        except OSError:
            time.sleep(0.1)
if sys.argv[1] == "work":
    here = os.environ["OAKCTL_BIND"]
    metrics = http.server.ThreadingHTTPServer((here, 9100), Metrics)
    threading.Thread(target=metrics.serve_forever, daemon=True).start()
    Server((here, 7000), Work).serve_forever()
for _ in range(5):
    threading.Thread(target=ask).start()
"""


async def upload(root: RootClient, folder: Path) -> str:
    app = folder / "app"
    app.mkdir()
    (app / "main.py").write_text(PROGRAM)
    (app / "oakctl-artifact.toml").write_text(
        'name = "calm"\ncommand = ["{python}", "{artifact}/main.py"]\n'
    )
    return await root.upload_artifact(artifact.pack(app, cache_directory()).path)


async def test_load_adds_an_instance_and_its_end_takes_it_back(tmp_path: Path) -> None:
    async with fleet() as (_, root):
        sha256 = await upload(root, tmp_path)
        await root.apply(ApplyRequest(DESCRIPTOR, {"./app": sha256}))

        async def work() -> ServiceView:
            return await root.service("Work")

        await until("the first instance", work, lambda view: (view.ready, view.wanted) == (1, 1))
        with pytest.raises(Conflict, match="scales by itself, from 1 to 2"):
            await root.scale("Work", 2)
        await root.scale("Load", 1)
        await until("an instance more", work, lambda view: (view.ready, view.wanted) == (2, 2))
        told = await root.explain("Work")
        whys = [reason for d in told.decisions for v in d.verdicts for reason in v.reasons]
        assert any(why.startswith("queue_delay_ms") for why in whys), whys

        await root.scale("Load", 0)
        await until("one is taken back", work, lambda view: view.wanted == 1)
        gone = await until("it is gone", lambda: root.instances("Work"), lambda all: len(all) == 1)
        assert gone[0].number == 0

        events = [event async for event in root.events() if event.kind == "service.scaled"]
        own = [event for event in events if event.subject.startswith("calm.test.Work")]
        assert [event.message for event in own] == [
            "2 instances wanted, 1 before",
            "1 instance wanted, 2 before",
        ]
        assert all("queue_delay_ms" in event.reason for event in own)

        await _goes_to_the_other_worker(root)


async def _goes_to_the_other_worker(root: RootClient) -> None:
    """What scales by itself is migrated and restarted like any other, the new one first."""
    before = await root.instance("Work.instance.0")
    other = {"w1": "w2", "w2": "w1"}[before.worker]
    view = await root.migrate("Work.instance.0", f"edge/{other}")
    assert (view.state, view.replacing) == ("starting", 1)

    async def work() -> tuple[InstanceView, ...]:
        return await root.instances("Work")

    (moved,) = await until(
        "it to be there alone", work, lambda all: [one.worker for one in all] == [other]
    )
    assert (moved.number, moved.ready) == (1, True)
    with pytest.raises(Conflict, match=f"is on edge/{other} already"):
        await root.migrate("Work.instance.1", other)
    await root.restart("Work")
    (anew,) = await until("a new one alone", work, lambda all: [one.number for one in all] == [0])
    assert (anew.ready, anew.pid != moved.pid) == (True, True)
