"""The pure parts of the machine lab: what is asked for, addresses, commands, rules, argv."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from oakctl.errors import Conflict, OakError, UsageError
from oakctl.lab.machines import boot, emulation, lab_file, recipe, rules, sources, tools, topology
from oakctl.lab.machines.lab_file import Arch, LabPlan, MachineHost, Nat, Site, Sudo, Suite, Udp
from oakctl.lab.machines.recipe import HostFile, Identity, Recipe
from oakctl.lab.machines.shell import Shell
from oakctl.lab.machines.topology import HUB, OPERATOR

NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
BLOCKS = st.sampled_from([str(b) for p in topology.POOLS for b in p.subnets(new_prefix=20)])


@st.composite
def plans(draw: st.DrawFn) -> LabPlan:
    sites = tuple(
        Site(name, draw(st.sampled_from(Nat)), draw(st.sampled_from(Udp)))
        for name in draw(st.lists(NAMES, max_size=4, unique=True))
    )
    places = st.sampled_from(["", *(site.name for site in sites)])
    hosts = tuple(
        MachineHost(
            name,
            draw(st.sampled_from(Suite)),
            draw(st.sampled_from(Sudo)),
            draw(st.booleans()),
            draw(places),
            draw(st.sampled_from(Arch)),
        )
        for name in draw(st.lists(NAMES, min_size=1, max_size=12, unique=True))
    )
    return LabPlan(hosts, sites)


@settings(max_examples=30)
@given(plans())
def test_what_lab_yaml_says_is_what_is_made(plan: LabPlan) -> None:
    def plain(each: object) -> dict[str, object]:
        fields = dataclasses.asdict(each)  # type: ignore[call-overload]
        return {key: getattr(value, "value", value) for key, value in fields.items()}

    data = {"hosts": [plain(h) for h in plan.hosts], "sites": [plain(s) for s in plan.sites]}

    assert lab_file.parse(yaml.safe_dump(data)) == plan


def test_the_readmes_lab_yaml_is_one() -> None:
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text()
    (text,) = [
        part for part in readme.split("```") if part.startswith("yaml\nhosts:\n  - {name: m1}")
    ]

    plan = lab_file.parse(text.removeprefix("yaml\n"))

    assert [host.arch for host in plan.hosts if host.name == "pi"] == [Arch.ARM64]
    assert plan.sites == (Site("home", Nat.SYMMETRIC, Udp.DROP),)


def test_the_shortest_lab_yaml_takes_the_defaults() -> None:
    assert lab_file.parse("hosts: [{name: m1}]") == LabPlan((MachineHost("m1"),))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("hosts: [{name: m1, suit: trixie}]", "hosts[0].suit: no such field"),
        ("hosts: [{name: m1, suite: sarge}]", "'sarge' is not one of trixie"),
        ("hosts: [{name: m1, arch: armv6}]", "'armv6' is not one of native, arm64"),
        ("hosts: [{suite: trixie}]", "hosts[0]: a name is missing"),
        ("hosts: [{name: m1, docker: maybe}]", "is no true or false"),
        ("hosts: [{name: m1, site: home}]", "there is no site 'home'"),
        ("hosts: [{name: m1}, {name: m1}]", "m1 is there twice"),
        ("hosts: [{name: ../m1}]", "'../m1' is no name"),
        ("hosts: []", "0 is not 1 to"),
        ("hosts: 3", "3 is no list"),
        ("hosts: [m1]", "'m1' is no mapping"),
        ("{hosts: [{name: m1}], colour: red}", "colour: no such field"),
        ("{hosts: [{name: m1}], mirror: 1}", "mirror: 1 is no text"),
        ("- m1", "no mapping"),
        ("hosts: [", "not YAML"),
    ],
)
def test_faults_are_named(text: str, fault: str) -> None:
    with pytest.raises(UsageError) as raised:
        lab_file.parse(text)

    assert fault in "\n".join([raised.value.message, *raised.value.details])


@given(st.data())
def test_anything_else_in_lab_yaml_is_a_fault_and_never_a_crash(data: st.DataObject) -> None:
    scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    keys = st.sampled_from(["hosts", "sites", "mirror", "name", "suite", "docker", "site", "nat"])
    tree = st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner)
    )
    text = yaml.safe_dump(data.draw(tree))
    try:
        lab_file.parse(text)
    except UsageError:
        return


@settings(max_examples=30)
@given(plans(), BLOCKS)
def test_addresses_are_of_the_block_and_each_is_there_once(plan: LabPlan, block: str) -> None:
    made = topology.plan_network(plan, block, "abcdef")
    addresses = [
        IPv4Interface(port.address).ip
        for link in made.links
        for port in (link.a, link.b)
        if port.address
    ]
    addresses += [IPv4Interface(bridge.address).ip for bridge in made.bridges if bridge.address]

    assert len(set(addresses)) == len(addresses)
    assert all(address in IPv4Network(block) for address in addresses)
    assert set(made.reach) == {host.name for host in plan.hosts}
    assert {IPv4Address(address) for address in made.reach.values()} <= set(addresses)


@settings(max_examples=30)
@given(plans(), BLOCKS)
def test_on_the_machine_itself_there_are_two_interfaces_of_ours(plan: LabPlan, block: str) -> None:
    made = topology.plan_network(plan, block, "abcdef")
    ends = [port for link in made.links for port in (link.a, link.b)]
    names = [(port.node, port.name) for port in ends]

    assert [name for node, name in names if node == OPERATOR] == ["oaklabcdefp", "oaklabcdefm"]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 15 for _, name in names)  # the kernel's IFNAMSIZ
    for command in topology.missing(made, {}):
        if command.node == OPERATOR and command.argv[:3] != ("ip", "link", "add"):
            assert any("oaklabcdef" in word for word in command.argv)


@settings(max_examples=30)
@given(plans(), BLOCKS)
def test_no_route_leads_out_of_the_lab(plan: LabPlan, block: str) -> None:
    made = topology.plan_network(plan, block, "abcdef")
    operators = {
        str(IPv4Interface(link.a.address).ip) for link in made.links if link.a.node == OPERATOR
    }

    assert all(route.via not in operators for route in made.routes)
    assert all(route.to != "default" for route in made.routes if route.node in (HUB, OPERATOR))


@settings(max_examples=30)
@given(plans(), BLOCKS)
def test_hosts_of_sites_are_connected_only_through_their_router(plan: LabPlan, block: str) -> None:
    made = topology.plan_network(plan, block, "abcdef")
    for host in plan.hosts:
        far = topology.cables_of(made, host.name)
        inner = [port for port in far if not port.isolated]

        assert [port.node for port in inner] == [
            topology.site_node(host.site) if host.site else HUB
        ]
        assert all(port.bridge == "mgm" for port in far if port.isolated)
        assert len(far) == (2 if host.site else 1)


@settings(max_examples=30)
@given(plans(), BLOCKS)
def test_a_network_that_is_whole_gets_no_new_links(plan: LabPlan, block: str) -> None:
    made = topology.plan_network(plan, block, "abcdef")
    present: dict[str, set[str]] = {}
    for port in (port for link in made.links for port in (link.a, link.b)):
        present.setdefault(port.node, set()).add(port.name)
    for bridge in made.bridges:
        present.setdefault(bridge.node, set()).add(bridge.name)

    assert not [c for c in topology.missing(made, present) if c.argv[:3] == ("ip", "link", "add")]
    fresh = topology.missing(made, {})
    added = [c for c in fresh if c.argv[:3] == ("ip", "link", "add")]
    assert len(added) == len(made.links) + len(made.bridges)


@settings(max_examples=30)
@given(plans(), BLOCKS)
def test_cables_that_are_pulled_are_not_plugged_in(plan: LabPlan, block: str) -> None:
    made = topology.plan_network(plan, block, "abcdef")
    name = plan.hosts[0].name
    plugs = topology.switched(made, name, on=True)

    assert not set(plugs) & set(topology.missing(made, {}, cut=[name]))
    assert set(plugs) <= set(topology.missing(made, {}))


@given(st.lists(BLOCKS, max_size=30))
def test_a_block_in_use_is_never_chosen(used: list[str]) -> None:
    chosen = IPv4Network(topology.choose_block([*used, "0.0.0.0/0", "192.0.2.2"]))

    assert not any(chosen.overlaps(IPv4Network(each)) for each in used)


def test_part_of_a_block_in_use_is_enough_to_leave_it() -> None:
    assert topology.choose_block(["172.31.3.7"]) == "172.31.16.0/20"
    assert topology.choose_block(["172.16.0.0/12"]) == "198.18.0.0/20"
    with pytest.raises(Conflict):
        topology.choose_block([str(pool) for pool in topology.POOLS])


@given(st.sampled_from(Nat), st.sampled_from(Udp))
def test_rules_replace_those_before_and_balance(nat: Nat, udp: Udp) -> None:
    text = rules.text(Site("home", nat, udp))

    assert text.startswith("table inet lab\ndelete table inet lab\n")
    assert text.count("{") == text.count("}")
    assert ("udp drop" in text) == (udp is Udp.DROP)
    assert ("masquerade" in text) == (nat is not Nat.NONE)
    assert ("fully-random" in text) == (nat is Nat.SYMMETRIC)
    assert ("dnat ip to" in text) == (nat is Nat.FULL_CONE)


ONE_LINE = """
# deb http://commented.example/debian trixie main
deb http://other.example/apt cloud main
deb-src http://source.example/debian trixie main
deb [signed-by=/usr/share/keyrings/x.gpg arch=amd64] http://mirror.example/debian trixie main
"""
STANZAS = """# a comment
Types: deb
URIs: https://other.example/apt
Suites: nodistro
Components: main

Types: deb
Enabled: no
URIs: http://disabled.example/debian
Suites: bookworm
Components: main

Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm
 bookworm-updates
Components: main
"""


@pytest.mark.parametrize("text", [ONE_LINE, STANZAS])
def test_the_archive_is_the_one_that_apt_uses(text: str) -> None:
    assert sources.mirror([text]) == "http://mirror.example/debian"


def test_an_index_is_shortened_to_what_is_wanted() -> None:
    index = "Package: a\nVersion: 1\n\nPackage: ab\nDepends: a\n\nPackage: c\nVersion: 2\n\n"

    assert sources.only(index, {"a", "c", "d"}) == (
        "Package: a\nVersion: 1\n\nPackage: c\nVersion: 2\n\n"
    )


@given(st.lists(st.text(max_size=60), max_size=4))
def test_any_source_list_has_an_archive_or_a_clear_answer(texts: list[str]) -> None:
    found = sources.mirror([*texts, "\ndeb http://mirror.example/debian sid main"])
    assert found
    with pytest.raises(OakError, match="no Debian archive"):
        sources.mirror(text.replace("deb", "") for text in texts)


def test_an_image_is_another_one_when_anything_in_it_is() -> None:
    keys = {
        Recipe(suite, docker, architecture).key
        for suite in Suite
        for docker in (False, True)
        for architecture in ("x86_64", "aarch64")
    }

    assert len(keys) == 12


def test_files_of_a_host_are_private_where_they_must_be() -> None:
    identity = Identity("0" * 32, b"private", b"public", b"login")
    files = {
        file.path: file
        for file in recipe.host_files(MachineHost("m1", sudo=Sudo.PASSWORD), identity)
    }

    assert files["etc/ssh/ssh_host_ed25519_key"] == HostFile(
        "etc/ssh/ssh_host_ed25519_key", b"private", 0o600
    )
    assert files["etc/sudoers.d/lab"].body == b"oak ALL=(ALL:ALL) ALL\n"
    free = recipe.host_files(MachineHost("m1"), identity)
    assert b"NOPASSWD" in next(f.body for f in free if f.path == "etc/sudoers.d/lab")


PLACE = boot.Place("oakl-abcdef-m1", "/l/m1/root", "/l/net/host-m1", "/l/it's/console.log")


def test_a_host_gets_a_cgroup_of_its_own_by_hand_or_from_systemd() -> None:
    argv = boot.nspawn(MachineHost("m1"), PLACE, boot.Surroundings(False, (), False))
    by_hand = boot.launcher(argv, PLACE, boot.Surroundings(False, ("/c/cpu", "/c/memory"), False))
    by_systemd = boot.launcher(argv, PLACE, boot.Surroundings(True, ("/c",), False))

    assert "echo $$ >/c/cpu/oakl-abcdef-m1/cgroup.procs" in by_hand
    assert "echo $$ >/c/memory/oakl-abcdef-m1/cgroup.procs" in by_hand
    assert "systemd-run --scope" in by_systemd
    assert "Delegate=yes" in by_systemd
    assert "cgroup.procs" not in by_systemd
    # A host that restarts itself comes back; one that ends in any other way stays off.
    assert all(f"[ $code = {boot.REBOOT} ] || exit $code" in each for each in (by_hand, by_systemd))


def test_docker_and_tunnels_are_given_where_they_are_asked_for() -> None:
    plain = boot.nspawn(MachineHost("m1"), PLACE, boot.Surroundings(False, (), False))
    place = dataclasses.replace(PLACE, docker="/l/m1/docker")
    full = boot.nspawn(MachineHost("m1"), place, boot.Surroundings(False, (), True))

    assert not [word for word in plain if word.startswith("--bind")]
    assert "--bind=/l/m1/docker:/var/lib/docker" in full
    assert "--bind=/dev/net/tun" in full


def test_missing_programs_become_packages() -> None:
    assert tools.missing_packages(lambda program: True, keyring=True) == ()
    assert tools.missing_packages(lambda program: program != "nft", keyring=False) == (
        "debian-archive-keyring",
        "nftables",
    )
    nothing = tools.missing_packages(lambda program: False, keyring=False, emulated=False)
    assert set(nothing) == {*tools.PACKAGES.values(), "debian-archive-keyring", "qemu-user-static"}


async def test_packages_are_named_and_not_installed_where_that_is_not_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tools, "_has", lambda program: program not in ("nft", "debootstrap"))
    monkeypatch.setattr(tools, "KEYRING", Path("/"))
    said: list[str] = []

    with pytest.raises(OakError) as raised:
        await tools.install(Shell("machines-x"), (), said.append, allowed=False)

    assert raised.value.hint == "apt-get install debootstrap nftables"
    assert said == []


def test_a_host_of_another_architecture_has_an_image_of_its_own() -> None:
    pi = MachineHost("pi", suite=Suite.BOOKWORM, arch=Arch.ARM64)
    here, there = recipe.recipe(pi, "x86_64"), recipe.recipe(pi, "aarch64")

    assert recipe.recipe(MachineHost("m"), "x86_64").foreign == ""
    assert "--foreign" not in recipe.recipe(MachineHost("m"), "x86_64").debootstrap("/r", "m")
    assert here.debootstrap("/r", "m")[-5:] == ("--arch=arm64", "--foreign", "bookworm", "/r", "m")
    assert emulation.needed(here) is emulation.AARCH64
    assert there.foreign == ""
    assert emulation.needed(there) is None
    with pytest.raises(UsageError, match="does not boot emulated"):
        recipe.recipe(MachineHost("pi", arch=Arch.ARM64), "x86_64")


# As a Debian 12 machine with qemu-user-static and systemd-binfmt shows it.
REGISTERED = """enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""


@pytest.mark.parametrize(
    ("entry", "serves"),
    [
        (REGISTERED, True),
        (REGISTERED.replace("enabled", "disabled"), False),
        (REGISTERED.replace("POCF", "POC"), False),
        (REGISTERED.replace("POCF", "PF"), False),
        (REGISTERED.replace("b700", "f300"), False),
        ("", False),
    ],
)
def test_an_emulator_that_is_registered_is_used_where_it_does(entry: str, serves: bool) -> None:
    assert emulation.serves(entry, emulation.AARCH64) == serves


def test_the_kernel_is_told_of_an_emulator_in_its_own_way() -> None:
    line = emulation.registration(emulation.AARCH64, "/usr/bin/qemu-aarch64-static")
    _, name, kind, offset, magic, mask, program, flags = line.split(":")

    assert (name, kind, offset, flags) == ("oakctl-lab-aarch64", "M", "", "OCF")
    assert magic.startswith(r"\x7f\x45\x4c\x46\x02")
    assert len(magic) == len(mask)
    assert program == "/usr/bin/qemu-aarch64-static"
