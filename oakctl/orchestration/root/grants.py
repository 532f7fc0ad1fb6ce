"""Clusters shared between operators: roots that we let in, and clusters that let us in.

Belongs here: what is done for a grant, for its end, and to take one up. Does not belong here: what
a granted root may do (`cluster.admission`), what its key can do (`remote.gate`), what containers
may have of a worker's host (`model.node.ContainerGrants`).
"""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Sequence

import asyncssh
from sqlite_utils import Database

from oakctl import paths
from oakctl.errors import Conflict, NotFound, OakError, UsageError
from oakctl.model import subjects
from oakctl.model.config import BUS_PORT
from oakctl.model.requests import GrantRequest, PlaybookRun
from oakctl.model.roots import AccessFile, RootGrant, RootRevocation, RootSummary, is_name
from oakctl.model.views import HostView, OperationView
from oakctl.orchestration.root import credentials, names
from oakctl.orchestration.root.means import Means
from oakctl.orchestration.root.operations import Progress
from oakctl.orchestration.root.store import events, fleet
from oakctl.overlay.addressing import CLUSTERS, cluster_block
from oakctl.remote import hostkeys, route
from oakctl.remote.bootstrap import ClusterAccess
from oakctl.remote.hostkeys import HostKeys
from oakctl.remote.target import Target, split_address

GATE = "gate"  # ends the name of the host through which a cluster that is another's is reached
PLAYBOOK = "grant"


class Grants:
    """The commands `cluster grant`, `revoke`, `grants` and `join`."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._made: dict[tuple[str, str], AccessFile] = {}  # until it is fetched, once

    async def listed(self, cluster: str) -> Sequence[RootSummary]:
        """The roots that were let in to a cluster of ours; raises NotFound, Conflict."""
        await self._means.store.run(lambda db: fleet.cluster_and_host(db, cluster))
        credentials.own(cluster, "who is let in")
        state = self._means.clusters.link(cluster).state
        return state.roots if state is not None else ()

    async def grant(self, cluster: str, request: GrantRequest) -> OperationView:
        """Let another operator's root in; `fetch` gives what he is handed, once.

        One that was let in already gets a new key, a new password and these rules: the old ones
        end. Raises UsageError, NotFound, Conflict.
        """
        name = _checked(request.name)
        credentials.own(cluster, "who is let in")

        async def work(progress: Progress) -> None:
            row, host = await self._of(cluster)
            link = self._means.clusters.link(cluster)
            key = asyncssh.generate_private_key("ssh-ed25519")
            public = " ".join(key.export_public_key("openssh").decode().split()[:2])
            secret = secrets.token_hex(16)
            where = await progress.in_thread(lambda: _reached(host, request.address))
            # What an earlier grant of this name has open ends first: its key is replaced.
            await self._playbook(host, {"cluster": cluster, "name": name}, progress)
            order = RootGrant(name, credentials.hashed(secret), request.rules)
            account = link.order(subjects.CTL_ROOT, order)
            await progress.step(host.name, f"bus: account of {name}", account)
            settings = {"cluster": cluster, "name": name, "key": public}
            await self._playbook(host, settings, progress)
            await link.refresh()
            access = credentials.access(cluster)
            assert access is not None, "a cluster with a link has one"
            self._made[cluster, name] = AccessFile(
                cluster=cluster,
                name=name,
                address=where.address,
                port=where.port or 22,
                user=where.login,
                host_keys=_host_keys(where),
                private_key=key.export_private_key("openssh").decode(),
                secret=secret,
                ca_pem=access.ca_pem,
                tls_hostname=access.tls_hostname,
                node_subnets=cluster_block(row.block),
                rules=request.rules,
            )
            await self._event(cluster, "cluster.granted", f"root {name} is let in")

        subject = f"grant {cluster}/{name}"
        return await self._means.operations.start(
            "cluster grant", subject, lambda db: _known(db, cluster), work, (cluster, request)
        )

    def fetch(self, cluster: str, name: str) -> AccessFile:
        """What was made for a root, which is then forgotten here; raises NotFound."""
        found = self._made.pop((cluster, name), None)
        if found is None:
            raise NotFound(
                f"there is no access file for {name} here: each is handed out once",
                hint=f"oakctl cluster grant {cluster} {name} makes a new one",
            )
        return found

    async def revoke(self, cluster: str, name: str, *, keep_running: bool = False) -> OperationView:
        """Throw a root out: its account, its key, its sessions, and what it runs."""
        _checked(name)
        credentials.own(cluster, "who is let in")
        self._made.pop((cluster, name), None)

        async def work(progress: Progress) -> None:
            _, host = await self._of(cluster)
            link = self._means.clusters.links.get(cluster)
            failed: OakError | None = None
            try:
                if link is None:
                    raise Conflict(f"cluster {cluster} has no link", hint="oakctl cluster ls")
                # First: it takes effect in milliseconds, and without it the key is of no use.
                order = link.order(subjects.CTL_REVOKE, RootRevocation(name, keep_running))
                await progress.step(host.name, f"bus: account of {name} is gone", order)
            except OakError as error:
                failed = error
            await self._playbook(host, {"cluster": cluster, "name": name}, progress)
            if failed is not None:
                raise failed
            kept = "what it ran goes on" if keep_running else "what it ran is stopped"
            await self._event(cluster, "cluster.revoked", f"root {name} is out; {kept}")

        subject = f"grant {cluster}/{name}"
        return await self._means.operations.start(
            "cluster revoke",
            subject,
            lambda db: _known(db, cluster),
            work,
            (cluster, name, keep_running),
        )

    async def join(self, given: AccessFile) -> OperationView:
        """Take a cluster into our list that another operator has let us in to.

        Taken up again with a newer file, it is reached by that one. Raises UsageError, Conflict.
        """
        cluster = _sound(given)
        host = _gate_of(given)

        def prepare(db: Database) -> None:
            known = fleet.cluster(db, cluster)
            if known is not None and not credentials.account(cluster):
                raise Conflict(
                    f"there is a cluster {cluster} of our own already", hint="oakctl cluster ls"
                )
            if known is None and fleet.host(db, host.name) is not None:
                raise Conflict(
                    f"there is a host {host.name} already", hint=f"oakctl host forget {host.name}"
                )
            _keep(given)
            fleet.put_host(db, host)
            block = known.block if known is not None else _block(db, given)
            row = fleet.ClusterRow(cluster, host.name, "", None, block, "ready", time.time())
            fleet.put_cluster(db, row)

        async def work(progress: Progress) -> None:
            access = credentials.access(cluster)
            assert access is not None, "it was just kept"
            await self._means.clusters.open(cluster, host, access)
            answers = self._means.until_reachable(cluster)
            await progress.step(host.name, f"cluster {cluster}: answers {given.name}", answers)
            await self._event(cluster, "cluster.joined", f"we are {given.name} there")

        return await self._means.operations.start(
            "cluster join", f"cluster {cluster}", prepare, work, (cluster, given.name)
        )

    async def _of(self, cluster: str) -> tuple[fleet.ClusterRow, HostView]:
        return await self._means.store.run(lambda db: fleet.cluster_and_host(db, cluster))

    async def _playbook(self, host: HostView, settings: dict[str, str], progress: Progress) -> None:
        run = PlaybookRun(PLAYBOOK, host.name, settings)
        await progress.in_thread(
            lambda: self._means.installer.playbook(host, run, progress.report, progress.cancelled)
        )

    async def _event(self, cluster: str, kind: str, message: str) -> None:
        now = time.time()
        await self._means.store.run(
            lambda db: events.append(db, now, kind, cluster, message, cluster=cluster)
        )
        self._means.bell.ring()


def _checked(name: str) -> str:
    if not is_name(name):
        raise UsageError(
            f"{name!r} can't be the name of a root",
            hint="use letters a to z and digits, 30 at most",
        )
    return name


def _known(db: Database, cluster: str) -> None:
    fleet.cluster_and_host(db, cluster)


def _reached(host: HostView, address: str) -> Target:
    """How another machine reaches the host: as ours does, or at the address that was given."""
    found = route.resolve(Target.of(host))
    if address:
        return Target(host.name, *_split(address, found.port), user=found.login,
                      host_key_name=found.key_place[0] if found.port == 22 else "",
                      known_hosts=found.known_hosts)  # fmt: skip
    if found.jump or found.proxy_command:
        raise Conflict(
            f"{host.name} is reached through other machines, which another root can't use",
            hint="--address HOST[:PORT] says how he reaches it",
        )
    return found


def _split(text: str, port: int) -> tuple[str, int]:
    _, address, found = split_address(text, port or 22)
    return address, found


def _host_keys(where: Target) -> tuple[str, ...]:
    keys = where.host_keys.trusted(*where.key_place)
    if not keys:
        raise Conflict(
            f"the host key of {where.where} is not known here",
            hint=f"oakctl host check {where.name}",
        )
    return tuple(" ".join(k.export_public_key("openssh").decode().split()[:2]) for k in keys)


def _sound(given: AccessFile) -> str:
    """The cluster's name; raises UsageError for a file that is none of ours, or damaged."""
    if given.kind != AccessFile.kind or given.version != AccessFile.version:
        raise UsageError(
            "it is no access file that this oakctl understands", hint="oakctl cluster grant --help"
        )
    try:
        asyncssh.import_private_key(given.private_key)
        for key in given.host_keys:
            asyncssh.import_public_key(key)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise UsageError(f"a key in the access file can't be read: {error}") from error
    if not (is_name(given.name) and given.host_keys and given.user and 0 < given.port < 65536):
        raise UsageError("the access file is not complete", hint="have it made anew")
    return names.check(given.cluster, "cluster")


def _gate_of(given: AccessFile) -> HostView:
    key = credentials.cluster_directory(given.cluster) / credentials.GATE_KEY
    name = f"{given.cluster[: 29 - len(GATE)]}-{GATE}"
    return HostView(name, given.address, given.port, given.user, str(key))


def _keep(given: AccessFile) -> None:
    """Its files, and the host's key; raises Unreachable when another key is known."""
    store = HostKeys(hostkeys.default_files(), paths.known_hosts(), accept_new=True)
    for key in given.host_keys[:1]:
        public = asyncssh.import_public_key(key)
        store.admit(_gate_of(given).name, given.address, given.port, public)
    credentials.save_granted(given.cluster, given)
    credentials.save_access(
        given.cluster,
        ClusterAccess(
            bus_address="",
            bus_port=BUS_PORT,
            tunnel_host="",
            tunnel_port=BUS_PORT,
            ca_pem=given.ca_pem,
            tls_hostname=given.tls_hostname,
            account=given.name,
        ),
    )


def _block(db: Database, given: AccessFile) -> int:
    """Which cluster of ours has these node subnets; the cluster's own where none has."""
    try:
        wanted = str(ipaddress.ip_network(given.node_subnets))
    except ValueError as error:
        raise UsageError(f"the access file has no node subnets: {error}") from error
    taken = {row.block: row.name for row in fleet.clusters(db)}
    for index in range(CLUSTERS):
        if cluster_block(index) == wanted and index not in taken:
            return index
    # Instances of the two clusters have the same addresses, and can't talk to each other.
    return next(index for index in range(CLUSTERS, 10 * CLUSTERS) if index not in taken)
