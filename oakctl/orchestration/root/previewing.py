"""Where the services of a descriptor would go, before anything is applied.

The clusters are asked in the order in which they would be offered an instance, and answer as they
would then; nothing is stored, reserved or sent besides. Each service is asked for by itself and for
its first instance: what an earlier one of the same descriptor would take is not counted. Does not
belong here: placing (`root.driver`), words (`tui.viewmodels.preview`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence

from sqlite_utils import Database

from oakctl.errors import OakError
from oakctl.model import subjects
from oakctl.model.messages import Offer, OfferAnswer, Verdict
from oakctl.model.requests import ApplyRequest
from oakctl.model.service import ServiceSpec, instance_name
from oakctl.model.views import Decision, Finding, Preview, ServicePreview
from oakctl.orchestration.root import applying
from oakctl.orchestration.root.delegation import OFFER_TIMEOUT_S, spread
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.looking import Stored, rank, read, sight
from oakctl.orchestration.root.store.database import Store
from oakctl.sla import Application, parse

UNSENT = "0" * 64  # stands for what was not uploaded: nobody fetches it


class _UndoneError(Exception):
    """Ends a transaction without its effect."""


class Previewing:
    """One for a root."""

    def __init__(self, store: Store, links: Mapping[str, Link]) -> None:
        self._store = store
        self._links = links

    async def of(self, request: ApplyRequest) -> Preview:
        """Where each service would go; artifacts need not be uploaded.

        Raises OakError with every fault of the descriptor, and what applying it would raise:
        Conflict, NotFound.
        """
        checked = parse(request.descriptor)
        unsent = dict.fromkeys(checked.artifact_references(), UNSENT) if checked.ok else {}
        whole = ApplyRequest(request.descriptor, {**unsent, **request.artifacts})
        applications, warnings = applying.read(whole)
        await self._refused_as_it_would_be(applications, warnings)
        stored = await self._store.run(read)
        specs = [spec for application in applications for spec in application.services]
        found = await asyncio.gather(*(self._service(spec, stored) for spec in specs))
        return Preview(tuple(found), warnings)

    async def _refused_as_it_would_be(
        self, applications: Sequence[Application], warnings: tuple[Finding, ...]
    ) -> None:
        """Apply them in a transaction that is rolled back."""

        def tried(db: Database) -> None:
            applying.apply(db, applications, warnings, time.time())
            raise _UndoneError

        with contextlib.suppress(_UndoneError):
            await self._store.run(tried)

    async def _service(self, spec: ServiceSpec, stored: Stored) -> ServicePreview:
        sights = [sight(row, self._links.get(row.name)) for row in stored.clusters]
        offering = [one for one in sights if one.accepts_offers]
        is_new = spec.job_name not in stored.services
        order, verdicts = rank(spec, offering, spread(stored.rows, spec.job_name))
        now, name = time.time(), instance_name(spec.job_name, 0)
        decisions = [Decision(now, name, "root", order[0] if order else "pending", verdicts)]
        for cluster in order:
            answer = await self._asked(cluster, spec)
            outcome = f"{cluster}/{answer.worker}" if answer.accepted else "refused"
            said = answer.verdicts or (Verdict(cluster, False, 0.0, (answer.reason,)),)
            decisions.append(Decision(now, name, cluster, outcome, said))
            if answer.accepted:
                return ServicePreview(
                    spec.job_name, is_new, spec.replicas, cluster, answer.worker, tuple(decisions)
                )
        return ServicePreview(spec.job_name, is_new, spec.replicas, decisions=tuple(decisions))

    async def _asked(self, cluster: str, spec: ServiceSpec) -> OfferAnswer:
        offer = Offer(spec, 0, 0, time.time() + OFFER_TIMEOUT_S)
        try:
            return await self._links[cluster].ask(
                subjects.CTL_EXPLAIN, offer, OfferAnswer, timeout_s=OFFER_TIMEOUT_S
            )
        except OakError as error:  # the next one is asked, as it would be for an offer
            return OfferAnswer(False, reason=error.message)
