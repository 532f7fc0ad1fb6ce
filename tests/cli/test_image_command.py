"""`oakctl image` against a real root, with archives and without a Docker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.image_files import ARCHITECTURE, Built, docker_archive, filler, layer, written

from .conftest import Oakctl

BASE = filler(1)


def test_push_ls_and_remove(with_root: Oakctl, tmp_path: Path) -> None:
    one = Built((BASE, layer({"version": b"1"})))
    file = str(written(tmp_path, docker_archive(one, "web:1")))
    pushed = with_root("image", "push", file, "-o", "json")
    assert pushed.code == 0, pushed.err
    told = json.loads(pushed.out)
    assert (told["name"], told["platforms"]) == ("web:1", [f"linux/{ARCHITECTURE}"])
    assert (told["layers"], told["sent_layers"]) == (2, 2)
    assert told["sent_bytes"] > 200_000
    assert "web:1: 2 layers, 2 to send" in pushed.err

    two = Built((BASE, layer({"version": b"2"})))
    written(tmp_path, docker_archive(two, "web:2"))
    again = with_root("image", "push", file, "--as", "local/web")
    assert (again.code, again.out) == (0, "")
    assert "local/web:latest" in again.err
    assert "1 of 2 layers sent" in again.err

    (first, second) = json.loads(with_root("image", "ls", "-o", "json").out)
    assert (first["name"], second["name"]) == ("local/web:latest", "web:1")
    assert "linux/" in with_root("image", "ls").out
    assert with_root("image", "rm", "web:1").err == "image web:1 is forgotten\n"
    assert with_root("image", "ls", "-o", "name").out == "local/web:latest\n"
    assert with_root("image", "rm", "web:1").code == 3
    assert with_root("image", "push", file, "--cluster", "nowhere").code != 0


def test_what_cannot_be_pushed_is_said_with_what_to_type(
    with_root: Oakctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = with_root("image", "push", str(tmp_path / "none.tar"))
    assert absent.code == 3
    assert "there is no file" in absent.err
    (tmp_path / "text.tar").write_text("hello")
    text = with_root("image", "push", str(tmp_path / "text.tar"))
    assert text.code == 2
    assert "is not an archive of an image" in text.err
    assert "docker save" in text.err
    monkeypatch.setenv("PATH", str(tmp_path))
    docker = with_root("image", "push", "web:1")
    assert docker.code == 3
    assert "there is no Docker on this machine" in docker.err
    assert "oakctl image push FILE.tar" in docker.err
    assert with_root("image", "ls", "-o", "json").out.strip() == "[]"
