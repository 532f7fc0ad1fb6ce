"""Docker: the distribution's own engine, on a host that has none.

An engine that is there, of whatever origin, is not touched: neither it nor its configuration
(/etc/docker/daemon.json), nor who may use it. A removal purges the packages that came by this
playbook, unless somebody else has containers, volumes or images there by then. What cannot be
found out counts as somebody else's: Docker stays, and that is said.
"""

from __future__ import annotations

from shlex import join

from oakctl.errors import OakError
from oakctl.remote import changes, docker_install, overlay_host, packages
from oakctl.remote.residence import Residence
from oakctl.remote.step import Remote, Step

NAME = "docker"
START_S = 120.0


def steps() -> list[Step]:
    return [engine(), answers()]


def undo() -> list[Step]:
    return [take_away()]


def engine() -> Step:
    def check(remote: Remote) -> str:
        if is_there(remote) and not (is_ours(remote) and cut_off(remote)):
            return ""
        as_root = isinstance(remote.residence, Residence) and remote.residence.as_root
        refused = docker_install.refusal(remote.facts, as_root=as_root)
        if refused:
            raise OakError(f"{remote.name}: {refused.reason}", hint=refused.remedy)
        packages.require_apt(remote, "Docker")
        return "not installed"

    def apply(remote: Remote) -> None:
        packages.update(remote)
        names = [docker_install.ENGINE, docker_install.CLIENT]
        wanted = docker_install.packages(packages.known(remote, names))
        if not wanted:
            raise OakError(
                f"{remote.name}: its package sources have no {docker_install.ENGINE}",
                hint=f"on {remote.name}: apt-cache policy {docker_install.ENGINE} lists them",
            )
        before = {} if NAME in changes.read(remote) else as_it_is(remote)
        changes.record(remote, NAME, {"complete": False, **before})
        packages.install(remote, NAME, wanted)
        changes.record(remote, NAME, {"complete": True})

    def note(remote: Remote) -> str:
        return "" if is_ours(remote) else "it is there, and is not touched"

    return Step("docker: the distribution's engine", check, apply, name="engine", note=note)


def answers() -> Step:
    def check(remote: Remote) -> str:
        if not is_ours(remote):
            return ""  # it is the user's to start
        return "" if does_answer(remote) else "not running"

    def apply(remote: Remote) -> None:
        started = remote.root(
            "systemctl enable --now docker.socket docker.service && "
            "for try in 1 2 3 4 5 6 7 8 9 10; do docker version >/dev/null 2>&1 && exit 0; "
            "sleep 2; done; docker version; journalctl -u docker -n 15 --no-pager; exit 1",
            timeout_s=START_S,
            check=False,
        )
        if started.exit_code != 0:
            raise OakError(
                f"{remote.name}: Docker was installed and does not start",
                hint=f"oakctl host run {remote.name} -- sudo journalctl -u docker -n 50",
                details=started.last_lines(),
            )

    return Step("docker: answers", check, apply, name="answers")


def take_away() -> Step:
    def check(remote: Remote) -> str:
        return "installed by oakctl" if NAME in changes.read(remote) else ""

    def apply(remote: Remote) -> str:
        made = changes.read(remote)[NAME]
        names = made.get("packages", [])
        if not names:  # cut off before any was installed: an engine there is somebody else's
            changes.forget(remote, NAME)
            return "none was installed"
        others = not_ours(remote, made)
        kept = [f"{', '.join(names)} ({docker_install.named(others)})"] if others else []
        kept = kept or packages.needed(remote, names)
        if not kept:
            # From here on it need not answer any more to be known as ours.
            changes.record(remote, NAME, {"going": True})
            clean(remote, made)
            packages.purge(remote, names)
            clear(remote, made)
        changes.forget(remote, NAME)
        return f"kept: {'; '.join(kept)}" if kept else "Docker is gone"

    return Step("docker: take it away", check, apply)


def is_there(remote: Remote) -> bool:
    found = remote.run("command -v docker || command -v dockerd", check=False)
    return found.exit_code == 0


def is_ours(remote: Remote) -> bool:
    """Whether packages came by this playbook; without any, an engine there did not."""
    return bool(changes.read(remote).get(NAME, {}).get("packages"))


def does_answer(remote: Remote) -> bool:
    asked = remote.root("docker version --format '{{.Server.Version}}'", check=False)
    return asked.exit_code == 0


def cut_off(remote: Remote) -> bool:
    return changes.read(remote).get(NAME, {}).get("complete") is False


def as_it_is(remote: Remote) -> changes.Entry:
    """What an engine changes beside its packages: its folders, the network, a group."""
    tests = "; ".join(f"[ -e {each} ] || echo {each}" for each in docker_install.FOLDERS)
    network = docker_install.network(remote.root(docker_install.NETWORK).stdout)
    # An overlay of ours that is there already has changed it, and forgets it beside an engine.
    if before := overlay_host.forwarded(remote):
        network["ip_forward"] = before
    return {"folders": remote.root(tests).stdout.split(), "network": network}


def clean(remote: Remote, made: changes.Entry) -> None:
    """While its tools are there: its rules and its bridge."""
    network = made.get("network", {})
    words = [network.get(key, "") for key in ("forward", "ip_forward", "tables")]
    remote.root(f"set -- {join(words)}\n{docker_install.CLEAN}", timeout_s=START_S)


def clear(remote: Remote, made: changes.Entry) -> None:
    """What purging leaves: images, the daemon's identity, and a group."""
    if made.get("folders"):
        remote.root(f"rm -rf {join(made['folders'])}", timeout_s=START_S)
    if not made.get("network", {}).get("group"):
        remote.root("if getent group docker >/dev/null; then groupdel docker; fi")


def not_ours(remote: Remote, made: changes.Entry) -> list[str]:
    """What others have in the engine that came by us, and what there is no knowing of."""
    if not does_answer(remote):
        names = made.get("packages", [])
        if made.get("going") and (packages.installed(remote, names) or not is_there(remote)):
            return []  # an earlier removal has asked it, and was cut off
        left = docker_install.left_there(remote.root(docker_install.ON_DISK).stdout)
        return [left] if left else []
    shown = remote.root(docker_install.SHOW, timeout_s=START_S, check=False)
    spaces = remote.root(docker_install.NAMESPACES, check=False)
    if shown.exit_code != 0 or spaces.exit_code != 0:
        return ["it does not say what it has"]
    try:
        return docker_install.not_ours(shown.stdout) + docker_install.strangers(spaces.stdout)
    except ValueError:
        return ["what it says it has is not understood"]
