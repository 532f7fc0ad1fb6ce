"""What a fault does to a host, and what undoes it, as text for `sh`. Pure.

Belongs here: one function for each kind, from the fault and the host's means. A deed may be run as
often as one likes; so may its undoing, which ends with another code than 0 when it did not work.
Does not belong here: how they get onto the host, and the timer (`envelope`).

Packets that leave are dropped on their way out, so that whoever sends one by UDP is told that this
is not permitted: a cut cable says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from shlex import quote

from oakctl.chaos.faults import UNITS, Fault, Kind
from oakctl.chaos.means import Means
from oakctl.model.config import HostLayout
from oakctl.remote.systemd import service

TABLE = "oakctl_chaos"  # the start of the names of our tables; each is removed whole
HANDLE = "ca05:"  # of our queueing disciplines
BURST_BYTES = 131072  # more than the largest piece that a network card hands over
QUEUE_MS = 400  # how long packets wait at most
OF_PYTHON = ("agent", "orchestrator")  # units that it runs
FIRST_WORD = r's/.*"argv": *\["\([^"]*\)".*/\1/p'  # of a unit's record
NOT_POSSIBLE = 3  # our own exit code: it says why
BEFORE_ALL, AFTER_ALL = -350, 350  # priorities of hooks
NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept"

# $run: an instance's attempts; each says who runs, and nobody else is killed. The first process
# leads a session and a group of its own.
KILL_PROCESSES = r"""
boot=$(cat /proc/sys/kernel/random/boot_id)
for file in "$run"/[0-9]*/process; do
    [ -r "$file" ] || continue
    pid=$(sed -n 's/.*"pid": *\([0-9][0-9]*\).*/\1/p' "$file")
    start=$(sed -n 's/.*"start": *\([0-9][0-9]*\).*/\1/p' "$file")
    [ "$(sed -n 's/.*"boot": *"\([^"]*\)".*/\1/p' "$file")" = "$boot" ] || continue
    [ "${pid:-0}" -gt 1 ] && [ -n "$start" ] || continue
    [ "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d' ' -f20)" = "$start" ] || continue
    kill -s KILL -- "-$pid" 2>/dev/null && hit=yes
done
"""
KILL_CONTAINERS = r"""
for id in $(docker ps -q --no-trunc --filter "label=oakctl.instance=$instance" \
    --filter "label=oakctl.prefix=$prefix" 2>/dev/null); do
    docker kill "$id" >/dev/null 2>&1 && hit=yes
done
"""
# After `stat -f` of $dir: block size, blocks that are free, those for everybody.
FILL = r"""
set -- $(stat -f -c '%S %f %a' "$dir")
free=$3; [ "$(id -u)" != 0 ] || free=$2
bytes=$((free * $1 - leave))
if [ "$bytes" -le 0 ]; then echo "no more than that is free there already" >&2; exit 3; fi
fallocate -l "$bytes" "$dir/fill" 2>/dev/null || head -c "$bytes" /dev/zero >"$dir/fill"
"""
# A moment later, so that this answer gets through.
RESET = r"""
[ -w /proc/sysrq-trigger ] || { echo "its kernel has no magic SysRq for us" >&2; exit 3; }
setsid sh -c 'sleep 1; echo 1 >/proc/sys/kernel/sysrq; echo b >/proc/sysrq-trigger' \
    </dev/null >/dev/null 2>&1 &
"""


@dataclass(frozen=True)
class Deed:
    """Scripts. `undo` empty: there is nothing to undo. `again`: `act` is repeated until it ends."""

    act: str
    undo: str = ""
    again: bool = False


def deed(
    fault: Fault, key: str, means: Means, *, instance: str = "", others: Iterable[str] = ()
) -> Deed:
    """What `fault` does on a host with these means.

    `instance`: the whole name of what is killed. `others`: addresses of a partition's other end.
    """
    if fault.kind is Kind.KILL_INSTANCE:
        return _kill_instance(fault, means, instance)
    if fault.kind in UNITS:
        return _kill_unit(fault, means)
    if fault.kind is Kind.POWER_CUT:
        return Deed(RESET)
    if fault.kind is Kind.FILL_DISK:
        leave = round(fault.leave_mb * 2**20)
        return Deed(f"leave={leave}\n{FILL}")  # the file goes with the folder of the fault
    if fault.kind is Kind.SLOW:
        return _slow(fault, key, means)
    if fault.kind is Kind.PARTITION:
        apart = sorted(set(others) - set(means.addresses))
        return _table(key, _parted(means, apart))
    return _table(key, _isolated(means))


def _kill_instance(fault: Fault, means: Means, instance: str) -> Deed:
    layout = HostLayout(means.prefix)
    act = (
        f"instance={quote(instance)}; prefix={quote(means.prefix)}; hit=\n"
        f"run={quote(layout.instance(instance))}/run\n"
        f"{KILL_PROCESSES}{KILL_CONTAINERS if means.docker else ''}"
    )
    if fault.for_s:
        return Deed(f"{act}:\n", undo=":", again=True)
    why = f"{instance} does not run there now"
    return Deed(f'{act}[ -n "$hit" ] || {{ echo {quote(why)} >&2; exit {NOT_POSSIBLE}; }}\n')


def _kill_unit(fault: Fault, means: Means) -> Deed:
    unit = UNITS[fault.kind]
    call = _supervisor(means)
    if means.plain:
        ask = f"{call} status {unit} | sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'"
        stop, start = f"{call} stop {unit}", f"{call} start {unit}"
    else:
        ask = f"{call} show -p MainPID --value {service(unit)}"
        stop, start = f"{call} stop {service(unit)}", f"{call} start {service(unit)}"
    why = f"{unit} does not run there now"
    act = (
        f"pid=$({ask})\n"
        f'[ "${{pid:-0}}" -gt 1 ] || {{ echo {quote(why)} >&2; exit {NOT_POSSIBLE}; }}\n'
        'kill -s KILL "$pid"\n'
    )
    if not fault.for_s:
        return Deed(act)
    return Deed(f"{act}{stop} >/dev/null\n", undo=f"{start} >/dev/null")


def _supervisor(means: Means) -> str:
    """The words before a verb for whoever keeps units running there."""
    layout = HostLayout(means.prefix)
    if means.plain:
        # The Python by which our own units run there is the one that will do here.
        files = " ".join(quote(layout.etc(f"{name}.unit.json")) for name in OF_PYTHON)
        found = f"cat {files} 2>/dev/null | sed -n {quote(FIRST_WORD)} | head -n 1"
        return f'"$({found})" {quote(layout.archive)} unit'
    if means.superuser:
        return "systemctl"
    return 'XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}" systemctl --user'


def table_name(key: str) -> str:
    """The nft table of a fault; what is called so has no other owner."""
    return f"{TABLE}_{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _table(key: str, rules: tuple[list[str], list[str]], before: str = "") -> Deed:
    """Rules for what arrives and for what leaves, in a table of their own, in one transaction."""
    name = table_name(key)
    arriving, leaving = ("\n".join(f"    {rule}" for rule in each) for each in rules)
    text = (
        f"table inet {name} {{\n"
        f"  chain arriving {{\n    type filter hook prerouting priority {BEFORE_ALL};\n"
        f"{arriving}\n  }}\n"
        f"  chain leaving {{\n    type filter hook postrouting priority {AFTER_ALL};\n"
        f"{leaving}\n  }}\n}}\n"
    )
    undo = f"nft delete table inet {name} 2>/dev/null\n! nft list table inet {name} >/dev/null 2>&1"
    return Deed(f"{before}printf %s {quote(text)} | nft -f -\n", undo)


def _ours(means: Means) -> tuple[list[str], list[str]]:
    """Rules that let our own SSH pass."""
    if not (means.client and means.ssh_port):
        return [], []
    family = _family(means.client)
    near = [NEIGHBOURS] if family == "ip6" else []
    return (
        [f"{family} saddr {means.client} tcp dport {means.ssh_port} accept", *near],
        [f"{family} daddr {means.client} tcp sport {means.ssh_port} accept", *near],
    )


def _isolated(means: Means) -> tuple[list[str], list[str]]:
    arriving, leaving = _ours(means)
    links = ", ".join(f'"{link}"' for link in means.uplinks)
    return ([*arriving, f"iifname {{ {links} }} drop"], [*leaving, f"oifname {{ {links} }} drop"])


def _parted(means: Means, others: list[str]) -> tuple[list[str], list[str]]:
    arriving, leaving = _ours(means)
    for family in ("ip", "ip6"):
        found = ", ".join(each for each in others if _family(each) == family)
        if found:
            arriving.append(f"{family} saddr {{ {found} }} drop")
            leaving.append(f"{family} daddr {{ {found} }} drop")
    return arriving, leaving


def _family(address: str) -> str:
    return "ip6" if ip_address(address).version == 6 else "ip"


def _slow(fault: Fault, key: str, means: Means) -> Deed:
    """What leaves waits in a queue of ours; what arrives too fast is dropped."""
    shapes = " ".join(quote(link) for link in means.uplinks)
    before = f"""
for link in {shapes}; do
    root=$(tc qdisc show dev "$link" | awk '/ root/ {{ print $2, $3; exit }}')
    case $root in
    ''|*' 0:') ;;
    *) echo "$link has the queueing discipline $root, which is left alone" >&2; exit 3 ;;
    esac
    tc qdisc add dev "$link" root handle {HANDLE} {_discipline(fault)}
done
"""
    after = f"""
for link in {shapes}; do
    if tc qdisc show dev "$link" 2>/dev/null | grep -q ' {HANDLE} root'; then
        tc qdisc del dev "$link" root || exit 1
    fi
done"""
    if not fault.bits_per_s:
        return Deed(before, after)
    limit = f"limit rate over {fault.bits_per_s // 8} bytes/second burst {BURST_BYTES} bytes drop"
    made = _table(key, ([f'iifname "{link}" {limit}' for link in means.uplinks], []), before)
    return Deed(made.act, f"{after}\n{made.undo}")


def _discipline(fault: Fault) -> str:
    if not fault.delay_ms:
        burst = max(32_768, fault.bits_per_s // 8 // 100)
        return f"tbf rate {fault.bits_per_s}bit burst {burst}b latency {QUEUE_MS}ms"
    rate = f" rate {fault.bits_per_s}bit" if fault.bits_per_s else ""
    return f"netem delay {fault.delay_ms:g}ms{rate} limit 10000"
