"""Which Python a host gets, and what an archive of one must be."""

from __future__ import annotations

import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.errors import NotFound, OakError, UsageError
from oakctl.model.config import HostLayout
from oakctl.remote import facts, interpreter, preflight, python_archive, python_cache
from oakctl.remote.equipment import Place
from oakctl.remote.facts import HostFacts
from oakctl.remote.interpreter import Interpreter, NoInterpreter, PythonArchive, choose, unfit
from tests import standalone_python
from tests.standalone_python import SCRIPT, foreign, made, program

OLD = HostFacts(
    architecture="x86_64",
    python_reason="/usr/bin/python3 is 3.9.2, too old: 3.10 is the oldest that will do",
    privilege="root",
    init="systemd",
    opt=Place(free_mb=1000),
)

archives = st.builds(
    PythonArchive,
    name=st.just("p.tar.gz"),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    size=st.integers(0, 1 << 30),
    unpacked=st.just(0),
    python=st.sampled_from(["3.9.2", "3.10.0", "3.11.2", "3.14.1", "4", ""]),
    architecture=st.sampled_from(["x86_64", "aarch64", "armv7l"]),
    libc=st.sampled_from(["glibc", "musl", "own"]),
    added=st.floats(0, 1e10),
)
hosts = st.builds(
    HostFacts,
    architecture=st.sampled_from(["x86_64", "aarch64", ""]),
    python=st.sampled_from(["", "/usr/bin/python3"]),
    libc=st.sampled_from(["", "glibc", "musl"]),
)


# --- the choice ---


@given(hosts, st.lists(archives), st.sampled_from(["", "0123456789ab"]))
def test_what_is_chosen_can_be_used(
    found: HostFacts, offered: list[PythonArchive], there: str
) -> None:
    chosen = choose(found, offered, there)
    assert chosen.reason
    fitting = [archive for archive in offered if not unfit(archive, found)]
    if isinstance(chosen, NoInterpreter):
        assert chosen.remedy
        assert not found.python
        assert not there
        assert not fitting
        return
    path = chosen.path(HostLayout("/opt/oakctl"))
    if found.python:
        assert (path, chosen.archive) == (found.python, None)
        return
    assert path == f"/opt/oakctl/python/{chosen.folder}/bin/python3"
    if fitting:
        assert chosen.archive in fitting
        assert chosen.archive.added == max(archive.added for archive in fitting)
    else:
        assert (chosen.folder, chosen.archive) == (there, None)


@given(hosts, st.lists(archives), st.randoms())
def test_the_order_of_archives_means_nothing(
    found: HostFacts, offered: list[PythonArchive], random: st.DataObject
) -> None:
    mixed = list(offered)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert choose(found, mixed) == choose(found, offered)


@given(archives, hosts)
def test_what_fits_runs_there(archive: PythonArchive, found: HostFacts) -> None:
    if unfit(archive, found):
        return
    assert archive.architecture == found.architecture
    assert archive.python in ("3.10.0", "3.11.2", "3.14.1")
    assert archive.libc == "own" or (archive.libc == "musl") == (found.libc == "musl")


def test_all_pythons_of_a_host_are_looked_at() -> None:
    answers = [
        "/usr/bin/python3\t/usr/bin/python3\t3.9.2\t",
        "/usr/bin/python3.12\t/usr/bin/python3.12\t3.12.1\tminimal: No module named 'asyncio'",
        "/usr/local/bin/python3.11\t/usr/local/bin/python3.11\t3.11.9\t",
    ]
    path, version, _ = facts.choose_python(answers)
    found = choose(replace(OLD, python=path, python_version=version))
    assert isinstance(found, Interpreter)
    assert (found.own, found.version) == ("/usr/local/bin/python3.11", "3.11.9")


def test_it_is_told_beforehand() -> None:
    """As a finding, and as the reason of the step."""

    def finding(**more: object) -> tuple[str, str, str]:
        found = preflight.check("b", replace(OLD, **more), archives=offered)  # type: ignore[arg-type]
        (one,) = [each for each in found if each.topic == "python"]
        return one.severity, one.message, one.remedy

    offered: list[PythonArchive] = []
    severity, message, remedy = finding()
    assert severity == "block"
    assert "3.9.2, too old" in message
    assert "x86_64" in message
    assert "oakctl host python add" in remedy
    assert finding(python_there="0123456789ab")[0] == "note"
    offered = [PythonArchive("p.tar.gz", "a" * 64, 10_400_000, 0, "3.11.2", "x86_64", "own")]
    severity, message, _ = finding()
    assert (severity, "Python 3.11.2 is pushed (10.4 MB, p.tar.gz)" in message) == ("note", True)
    assert "was pushed" in choose(OLD, offered, "a" * 12).reason
    for place, words in (
        (Place(free_mb=20), "20 MiB are free for /opt/oakctl, and it takes 59 MiB"),
        (Place(free_mb=1000, options=("rw", "noexec")), "noexec"),
    ):
        severity, message, remedy = finding(opt=place)
        assert severity == "block"
        assert words in message
        assert remedy
        assert finding(opt=place, python_there="a" * 12)[0] == "note"  # it is there already


# --- archives ---


def test_released_builds_of_another_architecture_are_read_and_not_run(tmp_path: Path) -> None:
    name = "cpython-3.12.8+20250106-aarch64-unknown-linux-gnu-install_only.tar.gz"
    found = python_archive.inspect(foreign(tmp_path / name, "3.12"))
    assert (found.python, found.architecture) == ("3.12.8", "aarch64")
    assert (found.libc, found.root) == ("glibc", "python")
    assert found.size == (tmp_path / name).stat().st_size


@pytest.mark.parametrize(
    ("loader", "libc"),
    [("/lib/ld-linux-aarch64.so.1", "glibc"), ("/lib/ld-musl-aarch64.so.1", "musl"), ("", "own")],
)
def test_whose_c_library_is_needed(tmp_path: Path, loader: str, libc: str) -> None:
    assert python_archive.inspect(foreign(tmp_path / "a.tar.gz", loader=loader)).libc == libc


GOOD = {"bin/python3": program(), "lib/python3.11/os.py": b""}


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    made_up = tarfile.TarInfo(name)
    made_up.type, made_up.linkname = kind, target
    return made_up


@pytest.mark.parametrize(
    ("files", "others", "words"),
    [
        ({"lib/x": b""}, (), "no bin/python3"),
        ({"a/b/bin/python3": program()}, (), "no bin/python3"),
        ({"bin/python3": b"#!/bin/sh\n", "lib/python3.11/os.py": b""}, (), "no program"),
        ({"bin/python3": program()}, (), "no lib/python3.X"),
        (GOOD | {"../x": b""}, (), "outside"),
        (GOOD | {"/etc/x": b""}, (), "outside"),
        (GOOD | {"a/../../x": b""}, (), "outside"),
        (GOOD, (member("a", tarfile.SYMTYPE, "../../x"),), "leads outside"),
        (GOOD, (member("a", tarfile.SYMTYPE, "/etc"),), "leads outside"),
        (GOOD, (member("a", tarfile.LNKTYPE, "../x"),), "leads outside"),
        (GOOD, (member("a/.", tarfile.SYMTYPE, ".."),), "leads outside"),
        (GOOD, (member("a", tarfile.SYMTYPE, "bin/../x"),), "leads outside"),
        (GOOD, (member("a", tarfile.LNKTYPE, "x"),), "no file of it"),
        (GOOD, (member("a", tarfile.SYMTYPE, "lib"), member("b", tarfile.LNKTYPE, "a/x")), "no fi"),
        (GOOD, (member("a", tarfile.CHRTYPE),), "a device"),
        (GOOD | {"a/x": b""}, (member("a", tarfile.SYMTYPE, "lib"),), "below a link"),
        ({**GOOD, "oakctl-python.json": b"[]"}, (), "cannot be read"),
    ],
)
def test_what_is_no_python_is_refused(
    tmp_path: Path, files: dict[str, bytes], others: tuple[tarfile.TarInfo, ...], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        python_cache.add(made(tmp_path / "a.tar.gz", files, others=others))
    assert refused.value.hint
    assert python_cache.listed() == ()


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(UsageError, match=r"is no tar\.gz of a Python"):
        python_cache.add(tmp_path / "a.tar.gz")


def test_one_that_is_too_old_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Python 3\.9: 3\.10 is the oldest"):
        python_archive.inspect(foreign(tmp_path / "a.tar.gz", "3.9"))


def test_one_that_does_not_run_here_is_refused(tmp_path: Path) -> None:
    ours = os.uname().machine
    if ours not in standalone_python.MACHINES:
        pytest.skip("no such program is made up for this machine")
    with pytest.raises(OakError, match="does not run here"):
        python_archive.inspect(foreign(tmp_path / "a.tar.gz", architecture=ours))


@given(st.binary(max_size=200))
def test_no_head_of_a_program_breaks_the_reading(content: bytes) -> None:
    python_archive.elf_of(b"\x7fELF" + content)
    assert python_archive.elf_of(b"no" + content) is None


paths = st.lists(st.sampled_from(["..", ".", "a", "b", "", "/"]), max_size=6).map("/".join)


@given(paths, paths)
def test_no_link_leads_out_of_its_folder(name: str, target: str) -> None:
    """Compared with where the path really leads."""
    found = python_archive.fault_of(member(name, tarfile.SYMTYPE, target))
    where = os.path.normpath(PurePosixPath("/f/o", name).parent / target)
    if not found:
        assert f"{where}/".startswith("/f/o/")
        assert os.path.normpath(f"/f/o/{name}") != "/f/o"


# --- the cache ---


def test_archives_are_kept_listed_and_taken_out(tmp_path: Path) -> None:
    first = python_cache.add(foreign(tmp_path / "first.tar.gz"))
    second = python_cache.add(foreign(tmp_path / "second.tar.gz", "3.12"))
    assert python_cache.listed() == (second, first)
    again = python_cache.add(tmp_path / "first.tar.gz")
    assert python_cache.listed() == (again, second)
    assert again.sha256 == first.sha256
    assert python_cache.content(again) == (tmp_path / "first.tar.gz").read_bytes()
    assert python_cache.directory().stat().st_mode & 0o077 == 0
    with pytest.raises(NotFound):
        python_cache.remove("none")
    with pytest.raises(NotFound):
        python_cache.remove("")
    python_cache.remove(first.folder)
    python_cache.remove("second.tar.gz")
    assert python_cache.listed() == ()
    assert list(python_cache.directory().iterdir()) == []


def test_a_damaged_one_is_not_pushed(tmp_path: Path) -> None:
    kept = python_cache.add(foreign(tmp_path / "a.tar.gz"))
    (python_cache.directory() / f"{kept.sha256}.tar.gz").write_bytes(b"else")
    with pytest.raises(OakError, match="is not what was added") as damaged:
        python_cache.content(kept)
    assert kept.folder in damaged.value.hint
    (python_cache.directory() / f"{kept.sha256}.json").write_bytes(b"{")
    with pytest.raises(OakError, match="cannot be read"):
        python_cache.listed()


def test_a_missing_file_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no archive"):
        python_cache.add(tmp_path / "none.tar.gz")


# --- a real one ---


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if reason := standalone_python.why_not():
        pytest.skip(reason)
    return standalone_python.build(tmp_path_factory.mktemp("standalone"))


@pytest.mark.slow
def test_the_standalone_python_of_the_script(real: Path, tmp_path: Path) -> None:
    """It is one for any host, runs where it lies, and its children are ordinary programs."""
    found = python_cache.add(real)
    assert (found.libc, found.root) == ("own", "")
    folder = tmp_path / "with a space"
    folder.mkdir()
    with tarfile.open(real) as archive:
        archive.extractall(folder, filter="data")
    (tmp_path / "link").symlink_to(folder / "bin/python3")
    ask = (
        "import os, subprocess, sys; "
        "print(sys.executable, sys.prefix, sep='\\n'); "
        "print([k for k in os.environ if k.startswith('LD_')]); "
        "print(open('/proc/self/maps').read().count('/lib/own/libc.so')); "
        "print(subprocess.run([sys.executable, '-c', 'import sys; print(sys.executable)'],"
        " capture_output=True, text=True, check=True).stdout.strip()); "
        "print(subprocess.run(['cat', '/proc/self/maps'],"
        " capture_output=True, text=True, check=True).stdout.count('/lib/own/'))"
    )
    done = subprocess.run(
        [folder / "bin/python3", "-I", "-c", ask], capture_output=True, text=True, check=True
    )
    executable, prefix, variables, mapped, child, inherited = done.stdout.splitlines()
    assert executable == child == str(folder / "bin/python3")
    assert prefix == str(folder)
    assert (variables, inherited) == ("[]", "0")
    assert int(mapped) > 0
    relative = subprocess.run(
        ["./python3", "-c", "import sys; print(sys.prefix)"],
        cwd=folder / "bin", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert relative.stdout.strip() == str(folder)
    linked = subprocess.run(
        [tmp_path / "link", "-c", "import ssl, sqlite3, sys; print(sys.prefix)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert linked.stdout.strip() == str(folder)


@pytest.mark.slow
def test_the_same_system_makes_the_same_bytes(real: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.tar.gz"
    subprocess.run([SCRIPT, "--from", "/", again], check=True, capture_output=True, timeout=240)
    assert again.read_bytes() == real.read_bytes()


def test_the_script_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [SCRIPT, "--from", tmp_path, tmp_path / "o.tar.gz"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "holds no python3.X" in done.stderr
    assert not (tmp_path / "o.tar.gz").exists()


def test_its_help_names_the_ways(tmp_path: Path) -> None:
    done = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert "--arch" in done.stdout
    assert "debian" in done.stdout


def test_the_oldest_is_the_same_everywhere() -> None:
    assert interpreter.new_enough(".".join(map(str, facts.OLDEST_PYTHON)))
