"""`oakctl overlay` on a real fleet of the loopback lab, as it is typed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from oakctl.client.root import RootClient
from oakctl.lab.loopback import Lab
from tests.chain import fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CHECKOUT = Path(__file__).parents[2]
JOB = "hello.demo.Web.demo"


async def call(*arguments: str, code: int = 0) -> str:
    """Standard output of `oakctl`, which ends with `code`."""
    with subprocess.Popen(
        [sys.executable, "-m", "oakctl", *arguments],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        out, err = await asyncio.to_thread(process.communicate, timeout=fleet.WAIT_S)
    assert process.returncode == code, f"{arguments}: {process.returncode}\n{out}\n{err}"
    assert "Traceback" not in err
    return out


async def overlay(*arguments: str, code: int = 0) -> Any:
    """What `oakctl overlay …` says, as JSON."""
    return json.loads(await call("overlay", *arguments, "-o", "json", code=code))


async def one_on_each(root: RootClient, folder: Path) -> None:
    """Web.0 on w1 and Web.1 on w2; it names a port at which it does not listen."""
    hello = CHECKOUT / "examples"
    text = (hello / "hello.yaml").read_text().replace("[8080/tcp]", "[8080/tcp, 8081/tcp]")
    descriptor = folder / "hello.yaml"
    descriptor.write_text(text.replace("./hello", str(hello / "hello")))
    await root.cordon("edge", "w2", True)
    await call("app", "apply", "-f", str(descriptor), "--wait", "--timeout", "2m")
    await root.cordon("edge", "w2", False)
    await root.cordon("edge", "w1", True)
    await root.scale("Web", 2)


async def test_status_trace_path_and_test(tmp_path: Path) -> None:
    async with fleet.fleet() as (lab, root):
        await one_on_each(root, tmp_path)
        view = await fleet.until(
            "two pairs, and tables that are current",
            root.overlay.view,
            lambda found: len(found.pairs) == 2 and not any(node.late for node in found.nodes),
        )
        assert [(node.name, node.mode) for node in view.nodes] == [
            ("w1", "loopback"),
            ("w2", "loopback"),
        ]
        shown = await call("overlay", "status", "edge", "-o", "wide")
        for words in ("edge/w1", "loopback", "10.30.10.10", "local", "newest"):
            assert words in shown
        assert len((await overlay("status", "edge/w1"))["nodes"]) == 1
        await call("overlay", "status", "nobody", code=3)

        traced = await root.overlay.trace("Web", "w2")
        assert {each.verdict for each in traced.candidates} == {"takes calls"}
        balanced, closest = traced.choices
        assert balanced.shares == (0.5, 0.5)
        assert closest.instances == (f"{JOB}.instance.1",)
        assert "same node comes first" in closest.why
        assert "3. where calls go" in await call("overlay", "trace", "Web", "--from", "w2")

        assert (await overlay("path", "w1", "w2"))["kind"] == "local"
        await tried_from_inside()
        await dead_node(lab, root)


async def tried_from_inside() -> None:
    """What listens is reached, and what does not is named."""
    tested = await overlay("test", "--from", "w1", code=1)
    tried = {(e["to"], e["port"], e["outcome"]) for e in tested["nodes"][0]["probes"]}
    assert {each for each in tried if each[1] == 8080} == {
        (f"{JOB}.instance.0", 8080, "reached"),
        (f"{JOB}.instance.1", 8080, "reached"),
        (f"{JOB} rr", 8080, "reached"),
        (f"{JOB} closest", 8080, "reached"),
    }
    assert (f"{JOB}.instance.1", 8081, "failed") in tried
    hints = [each["hint"] for each in tested["troubles"]]
    assert any(f"oakctl instance logs {JOB}.instance.1" in hint for hint in hints)


async def dead_node(lab: Lab, root: RootClient) -> None:
    """A host without power: told by its cluster's word, and as what is wrong."""
    await lab.power_cut("edge-w2")
    view = await fleet.until(
        "w2 to be dead", root.overlay.view, lambda found: found.nodes[1].status == "dead"
    )
    assert any(each.where == "edge/w2" for each in view.troubles)
    traced = await root.overlay.trace("Web", "edge/w2")
    assert not traced.asked
    assert "dead" in traced.troubles[0].words
    tested = await overlay("test", "--from", "edge/w2", code=1)
    assert "dead" in tested["nodes"][0]["fault"]
