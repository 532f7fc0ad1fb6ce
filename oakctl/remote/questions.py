"""The questions to a host: one POSIX shell script, whatever shell and tools are there.

Belongs here: the script alone. It changes nothing, asks for no password, and answers in lines
`key=value` between two lines that carry a nonce, so that nothing a login shell prints is taken for
an answer. Does not belong here: reading the answer (`facts`), what follows from it (`preflight`).
"""

from __future__ import annotations

_BEGIN = r"""
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
# One line, and no more of it than anybody needs: what is asked may answer anything.
say() { printf '%s=%.8000s\n' "$1" "$(printf '%s' "$2" | tr '\n' ' ')"; }
have() { command -v "$1" >/dev/null 2>&1; }
# A daemon that hangs must not hang the answer.
limited() { if have timeout; then timeout 5 "$@"; else "$@"; fi; }
# Who may become the superuser is asked of a directory server in some places.
patient() { if have timeout; then timeout 25 "$@"; else "$@"; fi; }
printf '\nbegin %s\n' "$1"
"""

# What only the superuser is told; `rooted` has it told.
_FIREWALL = r"""
say forward "$(rooted iptables -S FORWARD 2>/dev/null | head -n 1)"
say input "$(rooted iptables -S INPUT 2>/dev/null | head -n 1)"
say input_drops "$(rooted nft list ruleset 2>/dev/null | grep -c 'hook input .*policy drop')"
rules() { rooted "iptables-$1-save" 2>/dev/null | grep -c '^-A'; }
have iptables-legacy-save && say legacy_rules "$(rules legacy)"
have iptables-nft-save && say nft_rules "$(rules nft)"
"""

_HOST = r"""
say clock "$(date +%s)"
say user "$(id -un)"
say uid "$(id -u)"
say groups "$(id -Gn 2>/dev/null)"
say home "$HOME"
say hostname "$(uname -n)"
say machine_id "$(cat /etc/machine-id 2>/dev/null)"
say reached "$(printf '%s' "$SSH_CONNECTION" | awk '{ print $3 }')"
have ip && say addresses "$(ip -o addr show scope global 2>/dev/null | awk '{ print $2 "/" $4 }')"

say dpkg "$(dpkg --print-architecture 2>/dev/null)"
say elf "$(od -An -v -tx1 -N20 /bin/sh 2>/dev/null | tr -d ' \n')"
say kernel "$(uname -m)"
say kernel_release "$(uname -r)"
say long_bit "$(getconf LONG_BIT 2>/dev/null)"
for file in /lib/ld-musl-*; do [ -e "$file" ] && libc=musl; done
getconf GNU_LIBC_VERSION >/dev/null 2>&1 && libc=glibc
say libc "$libc"
say system "$( [ -r /etc/os-release ] && . /etc/os-release && printf '%s' "$PRETTY_NAME" )"
say distribution "$( [ -r /etc/os-release ] && . /etc/os-release && printf '%s' "$ID" )"
say version "$( [ -r /etc/os-release ] && . /etc/os-release && printf '%s' "$VERSION_ID" )"
[ -r /etc/rpi-issue ] && say raspbian yes
say device "$(tr -d '\000' 2>/dev/null </proc/device-tree/model)"
say compatible "$(tr '\000' ' ' 2>/dev/null </proc/device-tree/compatible)"
say l4t "$(head -n 1 /etc/nv_tegra_release 2>/dev/null)"
have dpkg-query && say l4t_package "$(dpkg-query -W -f '${Version}' nvidia-l4t-core 2>/dev/null)"
say cpus "$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null)"
say memory_kb "$(awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo 2>/dev/null)"

place() {  # free space, free inodes, write permission, mount options of where we would live
    at=$2
    while [ ! -d "$at" ] && [ "$at" != / ]; do at=${at%/*}; at=${at:-/}; done
    say "$1_kb" "$(df -Pk "$at" 2>/dev/null | awk 'NR == 2 { print $4 }')"
    say "$1_inodes" "$(df -Pi "$at" 2>/dev/null | awk 'NR == 2 { print $2, $4 }')"
    mounted=$(df -Pk "$at" 2>/dev/null | awk 'NR == 2 { print $6 }')
    say "$1_mount" "$(awk -v at="$mounted" '$2 == at { kind = $3; how = $4 }
        END { print kind, how }' /proc/mounts 2>/dev/null)"
}
place disk "$HOME"
place opt /opt/oakctl
say writable "$( [ -w "$HOME" ] && echo yes )"
say root_mount "$(awk '$2 == "/" { kind = $3; how = $4 } END { print kind, how }' \
    /proc/mounts 2>/dev/null)"

as=none
if [ "$(id -u)" = 0 ]; then as=; say privilege root
else
    # `-n` never asks; whether a password would help is found out when one is given.
    if have sudo; then
        refusal=$(patient sudo -n true 2>&1 </dev/null)
        if [ $? = 0 ]; then as='sudo -n'; say privilege sudo
        else say privilege sudo-password; say sudo_refusal "$refusal"; fi
        say sudo_version "$(limited sudo -V 2>/dev/null </dev/null | head -n 1)"
    fi
    if [ "$as" = none ] && have doas; then
        if patient doas -n true >/dev/null 2>&1 </dev/null; then as='doas -n'; say privilege doas
        else say privilege_other doas-password; fi
    fi
fi
rooted() { if [ "$as" = none ]; then return 125; fi; limited $as "$@" </dev/null; }

say init "$(cat /proc/1/comm 2>/dev/null)"
if have systemctl; then
    say systemd_version "$(systemctl --version 2>/dev/null | awk 'NR == 1 { print $2 }')"
    XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}; export XDG_RUNTIME_DIR
    limited systemctl --user show-environment >/dev/null 2>&1 </dev/null && say user_manager yes
    [ -e "/var/lib/systemd/linger/$(id -un)" ] && say lingers yes
fi

v2=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts 2>/dev/null)
say cgroup2 "$v2"
say cgroup1 "$(awk '$3 == "cgroup" { printf "%s ", $2 }' /proc/mounts 2>/dev/null)"
say controllers "$( [ -n "$v2" ] && cat "$v2/cgroup.controllers" 2>/dev/null )"
say memory_cgroup "$(awk '$1 == "memory" { print $4 }' /proc/cgroups 2>/dev/null)"
for file in /boot/firmware/cmdline.txt /boot/cmdline.txt; do
    [ -f "$file" ] || continue
    say cmdline "$file	$(wc -l <"$file" | tr -d ' ')	$(head -n 1 "$file")"
    break
done
say booted_with "$(cat /proc/cmdline 2>/dev/null)"

if have docker; then
    form='{{.Server.Version}}	{{.Server.Arch}}	{{.Server.Os}}'
    answer=$(limited docker version --format "$form" 2>/dev/null </dev/null) && how=
    [ -z "$answer" ] && answer=$(rooted docker version --format "$form" 2>/dev/null) && how=$as
    say docker "${answer:-no answer}"
    form='{{range $name, $_ := .Runtimes}}{{$name}},{{end}}	{{.Driver}}	{{.DockerRootDir}}	{{.ID}}'
    [ -n "$answer" ] && say docker_info \
        "$(limited $how docker info --format "$form" 2>/dev/null </dev/null)"
    images=$(limited $how docker info --format '{{.DockerRootDir}}' 2>/dev/null </dev/null)
    [ -n "$answer" ] && [ -n "$images" ] && place images "$images"
fi

have nvidia-smi && say nvidia "$(limited nvidia-smi \
    --query-gpu=name,memory.total,driver_version --format=csv,noheader 2>&1 </dev/null |
    tr '\n' ';')"
for file in /dev/nvhost-gpu /dev/nvhost-ctrl-gpu; do [ -e "$file" ] && say tegra_gpu yes; done
coral=
for file in /dev/apex_[0-9]*; do [ -e "$file" ] && coral="$coral $file"; done
for file in /sys/bus/usb/devices/*/idVendor; do
    case "$(cat "$file" 2>/dev/null):$(cat "${file%idVendor}idProduct" 2>/dev/null)" in
    1a6e:089a|18d1:9302) coral="$coral usb" ;;
    esac
done
say coral "$coral"

# By doing it where nobody sees it: a module that loads may still lack what is needed.
scratch() {
    if [ "$as" = none ]; then limited unshare -rn "$@" </dev/null; else rooted unshare -n "$@"; fi
}
if have unshare && scratch true >/dev/null 2>&1; then
    if have ip; then
        found=missing
        scratch ip link add oakctl-probe type wireguard >/dev/null 2>&1 && found=kernel
        say wireguard "$found"
    fi
    if have nft; then
        found="does not work"
        scratch nft add table ip oakctl_probe >/dev/null 2>&1 && found=yes
        say nftables "$found"
    fi
fi
have nft || say nftables missing
{ have wireguard-go || have boringtun-cli || have boringtun; } && say wireguard_userspace yes
[ -e /dev/net/tun ] && say tun yes
have iptables && say iptables "$(iptables -V 2>/dev/null)"
# Where an overlay's networks (10.x) may lead already, ours aside.
have ip && ip -4 route show table all type unicast 2>/dev/null | awk '
    $1 ~ /^10\./ || $1 ~ /\/[1-8]$/ {
        at = ""; for (i = 1; i < NF; i++) if ($i == "dev") at = $(i + 1)
        if (at !~ /^oak/ && !seen[$1 at]++) print $1 " " at }' | head -n 100 |
while read -r route; do say route "$route"; done
# Of its tunnel: 51820. One that is ours is known by its interface.
have ip && [ -z "$(ip link show oakwg0 2>/dev/null)" ] &&
    say tunnel_port "$(awk '$2 ~ /:CA6C$/ { print "taken"; exit }' \
        /proc/net/udp /proc/net/udp6 2>/dev/null)"
"""

_REST = r"""
say raw_table "$(grep -c '^raw$' /proc/net/ip_tables_names 2>/dev/null)"
if have modinfo; then
    if modinfo iptable_raw >/dev/null 2>&1; then say iptable_raw yes; else say iptable_raw no; fi
fi
for wall in firewalld ufw; do
    have systemctl && systemctl is-active --quiet "$wall" 2>/dev/null && say firewall "$wall"
done

for file in /etc/ssh/ssh_host_*_key.pub; do
    [ -r "$file" ] && say host_key "$(awk '{ print $1, $2; exit }' "$file")"
done
for file in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock; do
    [ -e "$file" ] || continue
    inode=$(ls -i "$file" 2>/dev/null | awk '{ print $1 }')
    holder=$(awk -v i=":$inode" 'substr($6, length($6) - length(i) + 1) == i { print $5; exit }' \
        /proc/locks 2>/dev/null)
    [ -n "$holder" ] && say package_lock "$holder $(cat "/proc/$holder/comm" 2>/dev/null)" && break
done

interrupted=
for file in /var/lib/dpkg/updates/[0-9]*; do [ -e "$file" ] && interrupted=yes; done
grep -qE '^Status: [a-z]+ [a-z]+ half-(installed|configured)' /var/lib/dpkg/status 2>/dev/null &&
    interrupted=yes
say packages_interrupted "$interrupted"
[ -d /run/cloud-init ] && [ ! -e /run/cloud-init/result.json ] &&
    [ ! -e /run/cloud-init/disabled ] && say first_boot yes

see() { cat "$1" 2>/dev/null || rooted cat "$1" 2>/dev/null; }
installed() {
    [ -e "$2" ] || return 0
    say "$1_install" "$2"
    if { [ -r "$2" ] && [ -x "$2" ]; } || rooted true 2>/dev/null; then say "$1_readable" yes; fi
    say "$1_manifest" "$(see "$2/manifest.json")"
    say "$1_cluster" "$(see "$2/etc/cluster.json")"
    say "$1_worker" "$(see "$2/etc/worker.json")"
    say "$1_holder" "$(see "$2/run/host.lock")"
    say "$1_release" "$(see "$2/current/complete")"
}
installed opt /opt/oakctl
installed home "$HOME/.oakctl"

env | sed -n 's/^OAKCTL_/env.OAKCTL_/p'
ask='
import sys
reason = ""
try:
    import asyncio, ssl, zlib
except ImportError as error:
    reason = "minimal: %s" % error
print("\t".join([sys.executable, ".".join(map(str, sys.version_info[:3])), reason]))
'
nonce=$1
shift
for name in "$@"; do
    path=$(command -v "$name" 2>/dev/null) || continue
    case " $seen " in *" $path "*) continue ;; esac
    seen="$seen $path"
    say python "$path	$("$path" -I -c "$ask" </dev/null 2>&1 | tail -n 1)"
done
awk '$4 == "0A" && $2 ~ /:107E$/ { print $2, $10 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null |
while read -r address inode; do
    pid=$(ls -l /proc/[0-9]*/fd/ 2>/dev/null | awk -v wanted="socket:[$inode]" '
        /^\/proc\// { split($1, part, "/"); pid = part[3] }
        index($0, wanted) { print pid; exit }')
    command=$([ -n "$pid" ] && tr '\000' ' ' <"/proc/$pid/cmdline" 2>/dev/null)
    say listen "$address	$pid	$command"
done
say clock_after "$(date +%s)"
printf '\nend %s\n' "$nonce"
"""

SCRIPT = _BEGIN + _HOST + _FIREWALL + _REST

# The firewall alone, for who has become the superuser since the other questions were asked.
FIREWALL = f"""{_BEGIN}
rooted() {{ limited "$@" </dev/null; }}
{_FIREWALL}
printf '\\nend %s\\n' "$1"
"""
