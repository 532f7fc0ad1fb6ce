"""Readiness and metrics of real instances."""

from __future__ import annotations

import pytest

from oakctl.model.instance import InstanceState
from oakctl.model.service import MetricsEndpoint, Probe
from tests.worker.stage import AgentProcess, Orchestrator, artifact, desired, spec, until

NAME = "app.ns.srv.ns.instance.0"
# Serves once the file `go` is there, and while it is.
SERVER = """
import http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        there = os.path.exists("go")
        self.send_response(200 if there else 503)
        self.end_headers()
        self.wfile.write(b"# TYPE frames counter\\nframes_total 7\\nfps 12.5\\n")
    def log_message(self, *args): pass
while not os.path.exists("go"):
    time.sleep(0.02)
http.server.ThreadingHTTPServer((os.environ["OAKCTL_BIND"], 9100), Handler).serve_forever()
"""


@pytest.mark.parametrize(
    "probe",
    [
        Probe("tcp", port=9100, interval_s=0.1),
        Probe("http", port=9100, path="/x", interval_s=0.1),
        Probe("command", command=("test", "-e", "go"), interval_s=0.1),
    ],
    ids=lambda probe: probe.kind,
)
async def test_ready_when_the_probe_holds(
    agent: AgentProcess, orchestrator: Orchestrator, probe: Probe
) -> None:
    sha, content = artifact(SERVER)
    orchestrator.artifacts[sha] = content
    agent.start()
    await orchestrator.want(desired(spec(sha, ready=probe)))
    assert not (await orchestrator.reaches(NAME, InstanceState.RUNNING)).ready

    def ready() -> bool:
        seen = orchestrator.seen(NAME)
        return seen is not None and seen.ready

    go = agent.instance(NAME) / "work" / "go"
    go.touch()
    await until(ready, "the instance to be ready")
    if probe.kind != "tcp":
        go.unlink()
        await until(lambda: not ready(), "the instance not to be ready any more")


async def test_statistics_carry_metrics_and_use(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    sha, content = artifact("open('go', 'w').close()\n" + SERVER)
    orchestrator.artifacts[sha] = content
    agent.start()
    await orchestrator.want(desired(spec(sha, metrics=MetricsEndpoint(9100))))
    await until(
        lambda: [s for s in orchestrator.statistics if s.instances and s.instances[0].metrics],
        "statistics with metrics",
    )
    (found,) = orchestrator.statistics[-1].instances
    assert found.metrics == {"frames_total": 7.0, "fps": 12.5}
    assert found.memory_mb > 1
    assert found.job_name == "app.ns.srv.ns"
