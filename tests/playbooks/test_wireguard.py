"""WireGuard's tools and its program: where from, and on a host whose kernel has none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.errors import OakError
from oakctl.remote import wireguard
from oakctl.remote.wireguard import Choice, Offer
from tests.lab import snapshot
from tests.playbooks import real_host
from tests.playbooks.real_host import RealHost, archive_for, steps

BOOKWORM = Offer("0.0.20220316-1", "bookworm")
BACKPORTS = Offer("0.0.20231211-1~bpo12+1", "bookworm-backports")
TRIXIE = Offer("0.0.20231211-1", "trixie")

# --- pure ---


def test_what_the_package_sources_offer_is_read() -> None:
    """As apt 2.6 of Debian 12 prints it, with backports."""
    text = """\
wireguard-go | 0.0.20231211-1~bpo12+1 | http://mirror.example/debian bookworm-backports/main amd64
wireguard-go | 0.0.20220316-1 | http://mirror.example/debian bookworm/main amd64 Packages
"""
    assert wireguard.offers(text) == [BACKPORTS, BOOKWORM]
    assert wireguard.offers("") == wireguard.offers("N: Unable to locate package") == []


def test_debian_12_has_a_good_one_in_its_backports_alone() -> None:
    alone = wireguard.choose("", [BOOKWORM], "bookworm")
    assert alone.offer is None
    assert "0.0.20220316-1, too old" in alone.problem
    assert "bookworm-backports" in alone.remedy
    assert wireguard.choose("", [BOOKWORM, BACKPORTS], "bookworm") == Choice(BACKPORTS)
    assert wireguard.choose(BOOKWORM.version, [BOOKWORM], "bookworm").problem == alone.problem
    assert wireguard.choose("wireguard-go v0.0.20230223", [], "bookworm") == Choice()
    assert wireguard.choose("", [], "bullseye").problem


versions = st.one_of(
    st.just(""), st.integers(20150101, 20301231).map("0.0.{}-1".format), st.text(max_size=12)
)
offers = st.lists(st.builds(Offer, versions, st.sampled_from(["trixie", "trixie-backports"])))


@given(versions, offers)
def test_what_is_good_enough_is_taken_and_nothing_else(there: str, offered: list[Offer]) -> None:
    found = wireguard.choose(there, offered, "trixie")
    good = [offer for offer in offered if wireguard.is_good(offer.version)]
    if wireguard.is_good(there):
        assert found == Choice()
    elif not good:
        assert found.problem
        assert found.remedy
    else:
        assert found.offer in good
        own = [offer for offer in good if offer.release == "trixie"]
        assert not own or found.offer in own


# --- on a host ---


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHost]:
    with real_host.real_host("dvwg", tmp_path_factory.mktemp("wireguard")) as made:
        yield made


@pytest.fixture
def own_directories(host: RealHost) -> None:
    """In place of directories for each test: the host is one for all of them."""


@real_host.on_a_real_host
def test_it_comes_and_goes(host: RealHost, own_directories: None) -> None:
    before = host.picture()
    with pytest.raises(OakError, match="could not be installed") as refused:
        host.run(steps("wireguard"))  # there is no way to an archive yet
    assert "package sources" in refused.value.hint
    with archive_for(host):
        host.shell("apt-get -q update")
        told = host.run(steps("wireguard"))
        assert told["wireguard: its tools"].startswith("done")
        assert host.shell("command -v wg") == "/usr/bin/wg"
        with host.held() as remote:
            in_kernel = remote.facts.network.wireguard == "kernel"
        if not in_kernel:
            assert told["wireguard: a program for it"].startswith("done")
            made = "wireguard-go wg-lab && ip -br link show wg-lab && ip link delete wg-lab"
            assert "wg-lab" in host.shell(made)
        assert all(said.startswith("skipped") for said in host.run(steps("wireguard")).values())
        host.run(steps("uninstall"))
        kept = {"file /etc/apt/sources.list.*": "the test's way to an archive"}
        assert list(map(str, snapshot.difference(before, host.picture(), kept=kept))) == []


@real_host.on_a_real_host
def test_an_overlay_takes_what_it_can_get(host: RealHost, own_directories: None) -> None:
    """Beside the former test, whose host it has: its way to an archive has ended by then."""
    host.shell("apt-get clean")  # packages that came by it are there for another time
    before = host.picture()
    title = "overlay: what it takes"
    told = host.run(steps("overlay"))
    assert told[title].startswith("done: not to be had"), "nothing fails for that"
    with pytest.raises(OakError):
        host.run(steps("overlay", "kernel"))
    assert host.run(steps("overlay", "host"))[title] == "skipped: host: asked for"
    with archive_for(host):
        assert host.run(steps("overlay"))[title].startswith("done: kernel: WireGuard by")
        assert host.run(steps("overlay", "kernel"))[title].startswith("skipped: kernel: ")
        host.run(steps("uninstall"))
        kept = {"file /etc/apt/sources.list.*": "the test's way to an archive"}
        assert list(map(str, snapshot.difference(before, host.picture(), kept=kept))) == []
