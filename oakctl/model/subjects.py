"""The names of bus subjects, buckets and users: the only place where they are spelled.

A worker may publish `hb.<worker>`, `obs.<worker>.>`, `ask.<worker>.>` and subscribe to
`cmd.<worker>.>` and its own inbox, nothing else. NATS does not check reply subjects, so
whoever answers a worker first asks `replies_to_worker`; without it one worker could have an
answer written into another's subjects.
"""

from __future__ import annotations

# JetStream key-value buckets and the object store, used by the cluster orchestrator alone.
BUCKET_SHARES = "shares"
BUCKET_INSTANCES = "instances"
BUCKET_WORKERS = "workers"
BUCKET_SETTINGS = "settings"
BUCKET_LEASES = "leases"
BUCKET_EVENTS = "events"
OBJECTS_ARTIFACTS = "artifacts"

USER_ORCHESTRATOR = "orchestrator"
USER_ROOT = "root"
USER_WATCHER = "watcher"
ACCOUNT = "CLUSTER"

# Root → cluster orchestrator, request/reply.
CTL_OFFER = "ctl.offer"  # Offer → OfferAnswer
CTL_SHARE = "ctl.share"  # Share → Answer
CTL_STATE = "ctl.state"  # empty → ClusterState
CTL_ENROL = "ctl.enrol"  # Enrolment → Answer
CTL_WORKER = "ctl.worker"  # WorkerChange → Answer
CTL_SETTINGS = "ctl.settings"  # Settings → Answer
CTL_TABLE = "ctl.table"  # ServiceTable of another cluster → Answer
CTL_LOGS = "ctl.logs"  # LogsRequest → LogsAnswer
CTL_EXPLAIN = "ctl.explain"  # Offer → OfferAnswer, decides and reserves nothing
CTL_UPLOAD = "ctl.upload"  # bytes with the header `Oakctl-Upload` → UploadAnswer
CTL_SECRETS = "ctl.secrets"  # SecretsChange → Answer
CTL_SESSION = "ctl.session"  # SessionOpen → SessionAnswer
CTL_OVERLAY = "ctl.overlay"  # OverlayQuestion → OverlayAnswer
CTL_ALL = "ctl.>"

HEADER_UPLOAD = "Oakctl-Upload"
HEADER_SIZE = "Oakctl-Size"
HEADER_ERROR = "Oakctl-Error"

CTL_ROOT = "ctl.root"  # RootGrant → Answer
CTL_REVOKE = "ctl.revoke"  # RootRevocation → Answer
CTL_INVITE = "ctl.invite"  # TokenOrder → Answer
CTL_PEER = "ctl.peer"  # PeerIntroduction → Answer
CTL_UNPEER = "ctl.unpeer"  # PeerRemoval → Answer
CTL_WORD = "ctl.word"  # PeerWord → PeerWord: carried for two clusters that have no link

# Cluster orchestrator → root.
UP_STATE = "up.state"  # ClusterState, published on change and every second
UP_STATISTICS = "up.statistics"  # ClusterStatistics, published
UP_EVENT = "up.event"  # ClusterEvent → Answer, request; repeated until answered
UP_ALL = "up.>"

# What a granted root may ask; it does so below a prefix of its own (`of_root`).
GRANTED = (
    CTL_OFFER, CTL_SHARE, CTL_STATE, CTL_TABLE, CTL_LOGS, CTL_EXPLAIN, CTL_UPLOAD, CTL_SESSION,
)  # fmt: skip

# Cluster orchestrator → every instance of the bus client of a worker.
CMD_DESIRED = "desired"  # DesiredDocument, published
CMD_TABLES = "tables"  # TablesDocument, published
CMD_LOGS = "logs"  # LogsRequest → LogsAnswer
CMD_SESSION = "session"  # SessionOpen → SessionAnswer
CMD_OVERLAY = "overlay"  # OverlayLook → NodeSight
CMD_FRAMES = "frame.*"  # of which session, and a frame of it (`model.sessions`), published

# Worker → cluster orchestrator.
ASK_GREETING = "greeting"  # Greeting → GreetingAnswer
ASK_DESIRED = "desired"  # DocumentRequest → DesiredDocument, or an empty body when current
ASK_TABLES = "tables"  # DocumentRequest → TablesDocument, or an empty body when current
ASK_CHUNK = "chunk"  # ChunkRequest → bytes
ASK_SECRETS = "secrets"  # SecretsRequest → SecretsAnswer
ASK_ADDRESSES = "addresses"  # AddressesRequest → AddressesAnswer
ASK_LOGIN = "login"  # LoginRequest → LoginAnswer
OBS_REPORT = "report"  # Report → ReportAnswer
OBS_STATISTICS = "statistics"  # StatisticsReport, published
OBS_OVERLAY = "overlay"  # OverlayReport, published

# Orchestrator that dials ↔ the one whose bus it is; `peer.<who dials>.…`.
PEER_SYNC = "sync"  # PeerWord → PeerWord
PEER_WORD = "word"  # PeerWord, published to who dials


def of_root(name: str, subject: str) -> str:
    """A `ctl.` or `up.` subject as a granted root has it; as it is for the owner's (name "")."""
    return f"of.{name}.{subject}" if name else subject


def root_of(subject: str) -> str:
    """The granted root that a subject belongs to; empty: the owner's."""
    return subject.split(".")[1] if subject.startswith("of.") else ""


def heartbeat(worker: str) -> str:
    """Where a worker's heartbeats go."""
    return f"hb.{worker}"


def ask(worker: str, what: str) -> str:
    """Where a worker asks for something (`ASK_*`)."""
    return f"ask.{worker}.{what}"


def observed(worker: str, what: str) -> str:
    """Where a worker tells what it sees (`OBS_*`)."""
    return f"obs.{worker}.{what}"


def command(worker: str, what: str) -> str:
    """Where a worker is told something (`CMD_*`)."""
    return f"cmd.{worker}.{what}"


def frame_from_root(session: str) -> str:
    """Where the root's frames of a session go (`model.sessions`)."""
    return f"ctl.frame.{session}"


def frame_to_root(user: str, session: str) -> str:
    """Where they come to the root that goes by the bus user `user`: its own inbox."""
    return f"{inbox(user)}.frame.{session}"


def frame_from_worker(worker: str, session: str) -> str:
    """Where a worker's frames of a session go."""
    return observed(worker, f"frame.{session}")


def frame_to_worker(worker: str, session: str) -> str:
    """Where they come to a worker."""
    return command(worker, f"frame.{session}")


def session_of(subject: str) -> str:
    """The session that a subject of frames ends with."""
    return subject.rpartition(".")[2]


def join(token: str) -> str:
    """Where a machine uses a token: JoinRequest → JoinAnswer."""
    return f"join.{token}"


def token_of(subject: str) -> str:
    """The token in a `join.` subject."""
    return subject.split(".")[1]


def peer(cluster: str, what: str) -> str:
    """Where a cluster that dials another's bus speaks and hears there (`PEER_*`)."""
    return f"peer.{cluster}.{what}"


def peer_of(subject: str) -> str:
    """The cluster in a `peer.` subject."""
    return subject.split(".")[1]


def inbox(user: str) -> str:
    """The inbox prefix of a bus user."""
    return f"_INBOX_{user}"


def worker_of(subject: str) -> str:
    """The worker in an `hb.`, `ask.`, `obs.` or `cmd.` subject."""
    return subject.split(".")[1]


def replies_to_worker(subject: str, reply: str) -> bool:
    """Whether `reply` lies in the inbox of the worker that `subject` belongs to."""
    return reply.startswith(inbox(worker_of(subject)) + ".")
