"""What is given and what ssh_config says, made into one answer. `ssh` itself reads the file."""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from oakctl.errors import UsageError
from oakctl.model.views import HostView
from oakctl.remote import ssh_config
from oakctl.remote.route import route
from oakctl.remote.target import Target

pytestmark = pytest.mark.skipif(not shutil.which("ssh"), reason="no ssh")


Configure = Callable[[str], None]


@pytest.fixture
def configure(own_home: Path) -> Configure:
    def write(text: str) -> None:
        (own_home / ".ssh").mkdir(exist_ok=True)
        (own_home / ".ssh" / "config").write_text(text)

    return write


def host(address: str, **more: object) -> Target:
    values: dict[str, object] = {"name": "pi", "address": address, "port": 0}
    return Target.of(HostView(**(values | more)))  # type: ignore[arg-type]


ALIAS = """
Host garden-pi
    HostName 10.0.0.7
    User pi
    Port 2222
    IdentityFile %d/.ssh/garden
    IdentityFile %d/.ssh/%r_key
    IdentitiesOnly yes
    HostKeyAlias garden
    UserKnownHostsFile /etc/garden_hosts
    ForwardAgent yes
    ConnectTimeout 3
"""


def test_an_alias_means_what_it_means_to_ssh(configure: Configure, own_home: Path) -> None:
    configure(ALIAS)
    (found,) = route(host("garden-pi"))
    assert (found.address, found.port, found.login) == ("10.0.0.7", 2222, "pi")
    assert found.key_files == (f"{own_home}/.ssh/garden", f"{own_home}/.ssh/pi_key")
    assert found.keys_only
    assert found.key_place == ("garden", 22)
    assert found.host_key_files[0] == "/etc/garden_hosts"
    assert dict(found.origins)["address"] == dict(found.origins)["port"] == "ssh_config"
    assert found.remarks == ()


def test_what_is_given_wins(configure: Configure) -> None:
    configure(ALIAS + "    ProxyJump gate\n")
    given = host("garden-pi", user="anna", port=22, identity_file="/key", jump=("bob@hop:1",))
    hop, found = route(given)
    assert (found.login, found.port, found.key_files, found.jump) == ("anna", 22, (), given.jump)
    assert (found.identity_file, hop.login, hop.address, hop.port) == ("/key", "bob", "hop", 1)
    origins = dict(found.origins)
    assert {origins[each] for each in ("port", "user", "keys", "jump")} == {"given"}
    assert origins["address"] == "ssh_config"


def test_without_a_configuration_all_is_as_usual() -> None:
    (found,) = route(host("pi.lan"))
    assert (found.address, found.port, found.login) == ("pi.lan", 22, getpass.getuser())
    assert set(dict(found.origins).values()) == {"given", "default"}


def test_a_lab_is_reached_as_it_says(configure: Configure) -> None:
    configure("Host *\n  Port 1\n  ProxyJump nowhere\n  User x\n")
    (found,) = route(host("127.4.0.1", port=2222, user="anna", lab="dev"))
    assert (found.port, found.login, found.jump) == (2222, "anna", ())


def test_hops_are_looked_up_like_hosts(configure: Configure, own_home: Path) -> None:
    configure(
        "Host deep\n  ProxyJump carol@inner,far\n"
        "Host inner\n  HostName 10.0.1.1\n  Port 2201\n  ProxyJump outer\n  IdentityFile %d/inner\n"
        "Host outer\n  HostName 10.0.0.1\n  User out\n"
        "Host far\n  HostName 10.0.2.1\n  ProxyJump ignored\n"
        "Host *\n  User everyone\n"
    )
    found = route(host("deep"))
    assert [(each.login, each.where) for each in found] == [
        ("out", "10.0.0.1:22"),
        ("carol", "10.0.1.1:2201"),
        ("everyone", "10.0.2.1:22"),
        ("everyone", "deep:22"),
    ]
    assert found[1].key_files == (f"{own_home}/inner",)
    assert found[0].name == "outer, the jump host of pi"
    assert {each.before for each in found[:-1]} == {"pi"}


def test_a_jump_for_all_hosts_needs_an_exception_for_the_jump_host(configure: Configure) -> None:
    configure("Host gate\n  ProxyJump none\nHost *\n  ProxyJump gate\n")
    assert [each.address for each in route(host("pi"))] == ["gate", "pi"]
    configure("Host *\n  ProxyJump gate\n")
    with pytest.raises(UsageError) as caught:
        route(host("pi"))
    assert "jumphost loop via gate" in caught.value.details


def test_hops_in_a_circle_are_an_error(configure: Configure) -> None:
    configure("Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n")
    with pytest.raises(UsageError, match="circle"):
        route(host("a"))


def test_match_and_include(configure: Configure, own_home: Path) -> None:
    (own_home / "more").write_text("Host pi\n  User included\n")
    configure(
        f"Include {own_home}/more\nMatch host 10.0.0.*\n  Port 2200\nMatch exec true\n  User exec\n"
    )
    assert route(host("pi"))[0].login == "included"
    assert route(host("10.0.0.9"))[0].port == 2200


def test_a_proxy_command_and_an_agent_of_its_own(configure: Configure) -> None:
    configure(
        "Host a\n  ProxyCommand nc -X 5 -x proxy:1 %h %p # 100%%\n  IdentityAgent /run/agent\n"
        "Host b\n  ProxyCommand none\n  IdentityAgent none\n"
    )
    (first,), (second,) = route(host("a")), route(host("b", port=7))
    assert first.proxy_command == "nc -X 5 -x proxy:1 a 22 # 100%"
    assert first.agent == "/run/agent"
    assert (second.proxy_command, second.without_agent) == ("", True)
    configure("Host a\n  ProxyCommand nc %Z\n")
    with pytest.raises(UsageError, match="%Z"):
        route(host("a"))


def test_what_cannot_be_honoured_is_said(configure: Configure) -> None:
    configure(
        "Host pi\n  Ciphers aes128-ctr\n  BindAddress 10.0.0.2\n  StrictHostKeyChecking no\n"
        "  Compression yes\n  SendEnv LANG\n"
    )
    said = " ".join(route(host("pi"))[0].remarks)
    assert "ciphers aes128-ctr" in said
    assert "bindaddress 10.0.0.2" in said
    assert "host keys are always checked" in said
    assert "compression" not in said
    assert not route(host("pi"))[0].accept_new


def test_accept_new_may_be_said_there(configure: Configure) -> None:
    configure("Host pi\n  StrictHostKeyChecking accept-new\n")
    assert route(host("pi"))[0].accept_new


def test_what_ssh_does_not_understand_is_an_error_with_the_line(configure: Configure) -> None:
    configure("Host pi\n  Prot 22\n")
    with pytest.raises(UsageError, match="does not understand") as caught:
        route(host("pi"))
    assert "line 2" in " ".join(caught.value.details)
    assert caught.value.hint == "ssh -G pi"


def test_an_address_that_looks_like_an_option(configure: Configure) -> None:
    configure("Host *\n  Port 2200\n")
    with pytest.raises(UsageError):
        route(host("-oProxyCommand=touch /tmp/x"))


def test_without_ssh_the_file_is_said_to_be_unread(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(ALIAS)
    monkeypatch.setattr(ssh_config.shutil, "which", lambda name: None)
    (found,) = route(host("garden-pi"))
    assert found.address == "garden-pi"
    assert "is not read" in found.remarks[0]
