"""Packing: the same bytes for the same input, only what is needed, and clear refusals."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from oakctl.client.artifact import Manifest, pack, read_manifest, resolve
from oakctl.errors import NotFound, OakError
from oakctl.orchestration.worker.unpack import unpack

COMMAND = 'command = ["{python}", "{artifact}/main.py"]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small artifact's folder."""
    path = tmp_path / "hello"
    (path / "lib").mkdir(parents=True)
    (path / "oakctl-artifact.toml").write_text(COMMAND)
    (path / "main.py").write_text("print('hello')\n")
    (path / "lib" / "part.py").write_text("PART = 1\n")
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def names(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        return archive.getnames()


def test_a_folder_becomes_one_file_named_by_its_content(folder: Path, cache: Path) -> None:
    packed = pack(folder, cache)
    assert packed.path.name == f"{packed.sha256}.tar.gz"
    assert packed.size == packed.path.stat().st_size
    assert packed.manifest == Manifest("hello", ("{python}", "{artifact}/main.py"))
    assert names(packed.path) == ["oakctl-artifact.json", "lib/part.py", "main.py"]
    assert read_manifest(packed.path) == packed.manifest


def test_the_same_input_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    first = pack(folder, tmp_path / "one")
    os.utime(folder / "main.py", (1, 1))
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "main.pyc").write_bytes(b"x")
    assert pack(folder, tmp_path / "two").sha256 == first.sha256
    (folder / "main.py").write_text("print('bye')\n")
    assert pack(folder, tmp_path / "two").sha256 != first.sha256


def test_the_executable_bit_counts(folder: Path, cache: Path) -> None:
    first = pack(folder, cache)
    (folder / "main.py").chmod(0o755)
    second = pack(folder, cache)
    assert first.sha256 != second.sha256
    with tarfile.open(second.path) as archive:
        assert archive.getmember("main.py").mode == 0o755


def test_what_was_packed_is_found_again(folder: Path, cache: Path) -> None:
    first = pack(folder, cache)
    os.utime(first.path, (1, 1))
    assert pack(folder, cache) == first
    assert first.path.stat().st_mtime == 1


def test_a_spoiled_cache_is_packed_anew(folder: Path, cache: Path) -> None:
    first = pack(folder, cache)
    first.path.write_bytes(b"spoiled")
    again = pack(folder, cache)
    assert again == first
    assert read_manifest(again.path) == first.manifest
    assert not [path for path in cache.iterdir() if path.name.startswith(".")]


def test_vendored_packages_lie_beside_and_run(folder: Path, cache: Path, tmp_path: Path) -> None:
    (folder / "oakctl-artifact.toml").write_text(
        COMMAND + 'vendor = ["attrs"]\nleave_out = ["attr/exceptions.pyi", "attrs/filters.py"]\n'
    )
    (folder / "main.py").write_text("import attr; print(attr.__file__)\n")
    packed = pack(folder, cache)
    found = names(packed.path)
    assert "attr/__init__.py" in found
    assert not [name for name in found if name.endswith((".pyi", ".pyc", "RECORD"))]
    assert "attrs/filters.py" not in found
    assert packed.manifest.python == ""
    (tmp_path / "host").mkdir()
    unpack(packed.path, str(tmp_path / "host"), lambda share: None)
    # Neither site-packages nor the environment: what is imported came with the artifact.
    ran = subprocess.run(
        [sys.executable, "-S", "-E", "-B", str(tmp_path / "host" / "main.py")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ran.stdout.strip() == str(tmp_path / "host" / "attr" / "__init__.py")


def test_compiled_packages_pin_python_and_architecture(folder: Path, cache: Path) -> None:
    (folder / "oakctl-artifact.toml").write_text(COMMAND + 'vendor = ["pyyaml"]\n')
    manifest = pack(folder, cache).manifest
    assert manifest.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert manifest.architectures == (os.uname().machine,)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("", "command: is missing"),
        ("command = []", "command: is empty"),
        ("command = 'x'", "command: 'x' is not a list"),
        ("command = [1]", "command: holds something that is not a string"),
        ("command = ['x']\nvendr = []", "vendr: is not one of name, command, vendor"),
        ("command = ['x']\nname = 1", "name: 1 is not a string"),
        ("command =", "cannot be read"),
        ("command = ['x']\nvendor = ['no-such-package-here']", "is not installed here"),
        ("command = ['x']\nvendor = ['']", "is not installed here"),
    ],
)
def test_wrong_descriptions(folder: Path, cache: Path, description: str, message: str) -> None:
    (folder / "oakctl-artifact.toml").write_text(description)
    with pytest.raises(OakError) as caught:
        pack(folder, cache)
    assert message in "\n".join((caught.value.message, *caught.value.details))


def test_a_folder_without_a_description(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(NotFound, match=r"has no oakctl-artifact\.toml"):
        pack(tmp_path, cache)


def test_a_link_that_leads_out_is_refused(folder: Path, cache: Path) -> None:
    (folder / "secret").symlink_to("/etc/hostname")
    with pytest.raises(OakError, match="leads out of"):
        pack(folder, cache)


def test_one_name_from_two_sources(folder: Path, cache: Path) -> None:
    (folder / "oakctl-artifact.toml").write_text(COMMAND + 'vendor = ["attrs"]\n')
    (folder / "attr").mkdir()
    (folder / "attr" / "__init__.py").write_text("")
    with pytest.raises(OakError, match=r"attr/__init__\.py comes from both"):
        pack(folder, cache)


def test_references_are_relative_to_the_descriptor(folder: Path, cache: Path) -> None:
    packed = resolve("./hello", folder.parent, cache)
    assert packed == pack(folder, cache)
    again = resolve(f"cache/{packed.path.name}", folder.parent, cache)
    assert again == packed
    with pytest.raises(NotFound, match=r"\./nowhere is not there"):
        resolve("./nowhere", folder.parent, cache)


def archive_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def manifest_member(content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo("oakctl-artifact.json"), content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is wrong"),
        (b"[]", "not an object"),
        (b"{}", "command is missing"),
        (b'{"command": [1]}', "strings alone"),
        (b'{"command": 1}', "is wrong"),
        (b'{"command": ["x"], "name": 5}', "strings alone"),
        (b"\xff", "is wrong"),
        (b" " * 70_000, "more than 65536 bytes"),
    ],
)
def test_wrong_manifests(tmp_path: Path, content: bytes, message: str) -> None:
    path = archive_of(tmp_path / "a.tar.gz", manifest_member(content))
    with pytest.raises(OakError, match=message):
        read_manifest(path)


def test_archives_that_are_none(tmp_path: Path, folder: Path, cache: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"not an archive")
    with pytest.raises(OakError, match=r"is not a readable \.tar\.gz"):
        read_manifest(path)
    whole = pack(folder, cache).path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OakError, match=r"is not a readable \.tar\.gz"):
        read_manifest(path)
    with pytest.raises(OakError, match=r"has no oakctl-artifact\.json"):
        read_manifest(archive_of(path, (tarfile.TarInfo("main.py"), b"")))


@pytest.mark.parametrize("name", ["../outside", "a/../../outside"])
def test_members_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    good = manifest_member(json.dumps({"command": ["x"]}).encode())
    path = archive_of(tmp_path / "a.tar.gz", good, (tarfile.TarInfo(name), b"x"))
    with pytest.raises(OakError, match="is refused"):
        read_manifest(path)
