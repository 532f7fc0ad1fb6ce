"""The FastAPI application over one root."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

import oakctl
from oakctl.api import errors
from oakctl.api.activity import Activity
from oakctl.api.routes import (
    fleet,
    grants,
    hosts,
    images,
    overlay,
    process,
    secrets,
    sessions,
    tokens,
    watching,
    workloads,
)
from oakctl.orchestration.root.root import Root


def create(root: Root, activity: Activity, stop: Callable[[], None]) -> FastAPI:
    """`/v1` over `root`; `stop` is called when a client asks the process to leave."""
    app = FastAPI(title="oakctl", version=oakctl.__version__, docs_url=None, redoc_url=None)
    app.state.root = root
    app.state.stop = stop
    errors.install(app)
    for module in (
        process, fleet, hosts, workloads, images, secrets, sessions, watching, grants, tokens,
        overlay,
    ):  # fmt: skip
        app.include_router(module.router)
    app.add_middleware(errors.Boundary, activity=activity)
    return app
