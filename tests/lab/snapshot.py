"""What a host is, and what of it is different later: the measure of "as it was before".

`SCRIPT` is run on the host as the superuser, by `python3 -`, and prints JSON; `parse` reads that,
`difference` compares two, and `IGNORED` says what a Debian changes by itself, and why that is
nothing of ours. Nothing here speaks to a host.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

# Below these everything counts: type, mode, owner, and content. `/run` is only what systemd was
# told at run time; `/usr` outside `/usr/local` is the packages', which are counted by name.
ROOTS = (
    "/boot",
    "/etc",
    "/home",
    "/opt",
    "/root",
    "/run/systemd/system",
    "/run/systemd/transient",
    "/srv",
    "/tmp",
    "/usr/local",
    "/var/lib",
    "/var/spool",
    "/var/tmp",
)

# Pattern of `kind name` → why a difference there is nobody's doing.
IGNORED: Mapping[str, str] = {
    r"file /etc/(passwd|group|shadow|gshadow|subuid|subgid)-": "the copy that useradd leaves",
    r"file /etc/\.pwd\.lock": "made by the first tool that changes users",
    r"file /etc/\.updated|file /var/\.updated": "systemd notes that /usr has changed",
    r"file /(root|home/[^/]+)/\.(bash_history|lesshst|python_history)": "of whoever logs in",
    r"file /run/systemd/transient/session-.*": "sessions of those who are logged in",
    r"file /tmp/systemd-private-.*": "the private /tmp of services of the system",
    r"file /var/tmp/systemd-private-.*": "the private /tmp of services of the system",
    r"file /var/lib/apt/(lists|periodic|extended_states).*": "what apt last heard of its archive",
    r"file /var/lib/dpkg/.*": "packages are counted by name",
    r"file /var/lib/docker/.*": "containers and images are the engine's",
    r"file /var/lib/containerd/.*": "containers and images are the engine's",
    r"file /var/lib/logrotate/status": "when logs were last rotated",
    r"file /var/lib/private.*": "state of dynamic users of the system's services",
    r"file /var/lib/sudo/.*": "whether sudo has given its lecture",
    r"file /var/lib/systemd/(catalog|coredump|ephemeral-trees|network|pstore|rfkill|timers)(/.*)?":
        "stamps and caches of systemd",
    r"file /var/lib/systemd/(random-seed|credential\.secret|timesync/.*|backlight/.*)":
        "written by systemd at boot and shutdown",
    r"file /var/lib/systemd/linger": "logind makes the directory once, and leaves it there, empty",
    r"unit (session|user|user-runtime-dir).*": "those who are logged in",
    r"socket (udp|tcp) .*:(22|53|67|68|123|546)": "SSH, names, addresses and the time",
}  # fmt: skip

# For any Python 3 without more; it prints an object: `kind name` → how it is.
SCRIPT = r"""
import grp, hashlib, json, os, pwd, re, shutil, stat, subprocess, sys
roots = sys.argv[1:]
found = {}
def said(*words):
    if shutil.which(words[0]) is None: return []
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.decode("utf-8", "replace").splitlines()
def look(path):
    try:
        s = os.lstat(path)
        kind, mode = stat.filemode(s.st_mode)[0], s.st_mode & 0o7777
        what = "%s %04o %d:%d" % (kind, mode, s.st_uid, s.st_gid)
        if stat.S_ISLNK(s.st_mode): what += " -> " + os.readlink(path)
        if stat.S_ISREG(s.st_mode):
            with open(path, "rb") as file: what += " " + hashlib.sha256(file.read()).hexdigest()
    except FileNotFoundError: return
    except OSError as error: what = "unreadable: %s" % error.strerror
    found["file " + path] = what
for root in roots:
    if os.path.lexists(root): look(root)
    for folder, folders, files in os.walk(root):
        for name in folders + files: look(os.path.join(folder, name))
for p in pwd.getpwall(): found["user " + p.pw_name] = ":".join(map(str, p[2:]))
for g in grp.getgrall():
    found["group " + g.gr_name] = "%d:%s" % (g.gr_gid, ",".join(sorted(g.gr_mem)))
for line in said("systemctl", "list-unit-files", "--no-legend", "--no-pager"):
    name, state = line.split()[:2]
    found["unit " + name] = state
for line in said("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager"):
    found["failed " + line.split()[0]] = "failed"
for line in said("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status} ${Version}\n"):
    name, state, version = (line.split() + [""])[:3]
    found["package " + name] = state + " " + version
for tool in ("nft list ruleset", "iptables-save", "ip6tables-save"):
    for line in said(*tool.split()):
        line = re.sub(r"packets \d+ bytes \d+|\[\d+:\d+\]", "", line).strip()
        if line and not line.startswith("#"): found["rule %s: %s" % (tool, line)] = "there"
for version in ("-4", "-6"):
    for line in said("ip", version, "rule"): found["rule ip %s: %s" % (version, line)] = "there"
    for line in said("ip", version, "route"): found["route ip %s: %s" % (version, line)] = "there"
for line in said("ip", "-o", "link"): found["link " + line.split()[1].split("@")[0]] = "there"
for line in said("ss", "-Hlntu"):
    kind, _, _, _, local = line.split()[:5]
    found["socket %s %s" % (kind, local)] = "listens"
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open("/proc/%s/cmdline" % pid, "rb") as file: words = file.read()
    except OSError: continue
    if int(pid) != os.getpid() and b"oakctl" in words:
        found["process " + words.replace(b"\0", b" ").decode("utf-8", "replace").strip()] = "runs"
for folder, folders, _ in os.walk("/sys/fs/cgroup"):
    for name in folders:
        if "oakctl" in name: found["cgroup " + os.path.join(folder, name)] = "there"
for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
    for line in said("sysctl", "-n", key): found["sysctl " + key] = line
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Snapshot:
    """A host: `kind name` → how it is."""

    items: Mapping[str, str]


@dataclass(frozen=True)
class Change:
    """One thing that is otherwise than before; empty: it was or is not there."""

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        if not self.before:
            return f"+ {self.name} ({self.after})"
        if not self.after:
            return f"- {self.name} ({self.before})"
        return f"~ {self.name} ({self.before} → {self.after})"


def parse(text: str) -> Snapshot:
    """What `SCRIPT` printed; raises ValueError when that is something else."""
    items = json.loads(text)
    if not isinstance(items, dict) or "file /etc/passwd" not in items:
        raise ValueError("this is no picture of a host")
    return Snapshot({str(name): str(state) for name, state in items.items()})


def difference(before: Snapshot, after: Snapshot, *, kept: Mapping[str, str] = {}) -> list[Change]:
    """All that is otherwise, by name, but for `IGNORED` and what is `kept` (pattern → why)."""
    patterns = [re.compile(pattern) for pattern in (*IGNORED, *kept)]
    names = sorted({*before.items, *after.items})
    return [
        Change(name, before.items.get(name, ""), after.items.get(name, ""))
        for name in names
        if before.items.get(name) != after.items.get(name)
        and not any(pattern.fullmatch(name) for pattern in patterns)
    ]
