"""What a role leaves behind where another role stays: none of its secrets."""

from __future__ import annotations

import re
from pathlib import Path

from oakctl.orchestration.cluster import orchestrator
from oakctl.remote.manifest import ROLES


def test_files_with_secrets_of_a_cluster_go_with_it() -> None:
    # By the orchestrator's own text, so that the next such file is not forgotten.
    text = Path(orchestrator.__file__).read_text()
    found = re.findall(r'layout\.state\("([^"]+\.json)"\)', text)
    assert {"secrets.json", "tokens.json"} <= set(found)
    assert {f"state/{name}" for name in found} <= set(ROLES["cluster"]["paths"])
