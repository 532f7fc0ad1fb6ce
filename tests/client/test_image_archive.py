"""Reading archives of images: every form, and hostile ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oakctl.client.image_archive import Archive, NamedImages, choose
from oakctl.client.image_push import pack
from oakctl.errors import NotFound, OakError, UsageError
from tests.image_files import (
    ARCHITECTURE,
    Built,
    docker_archive,
    filler,
    layer,
    oci_layout,
    sha,
    tar,
    written,
)

IMAGE = Built((layer({"a": b"1"}), filler(1)))
OTHER = Built((layer({"a": b"1"}), filler(2)), "riscv64")


def contents(path: Path) -> tuple[NamedImages, ...]:
    with Archive(path) as archive:
        return archive.contents()


@pytest.mark.parametrize("compress", [False, True])
def test_an_archive_of_docker_save(tmp_path: Path, compress: bool) -> None:
    content = docker_archive(IMAGE, "web:1", "web:2")
    path = written(tmp_path, gzip.compress(content) if compress else content)
    found = contents(path)
    assert [one.name for one in found] == ["web:1", "web:2"]
    (image,) = found[0].images
    assert image.platform == f"linux/{ARCHITECTURE}"
    assert [one.diff_id for one in image.layers] == [sha(one) for one in IMAGE.layers]


def test_an_oci_layout_has_each_platform_that_is_whole(tmp_path: Path) -> None:
    (found,) = contents(written(tmp_path, oci_layout([IMAGE, OTHER, IMAGE], "web:1")))
    assert found.name == "web:1"
    assert [one.platform for one in found.images] == [f"linux/{ARCHITECTURE}", "linux/riscv64"]
    assert found.images[1].config == OTHER.config


def test_the_same_layer_is_packed_into_the_same_bytes(tmp_path: Path) -> None:
    def packed(content: bytes) -> list[str]:
        with Archive(written(tmp_path, content)) as archive:
            (found,) = archive.contents()
            target = tmp_path / "layer"
            return [pack(archive, one, target).sha256 for one in found.images[0].layers]

    plain = packed(docker_archive(IMAGE, "web:1"))
    assert plain == packed(oci_layout([IMAGE], packed=False))
    assert packed(oci_layout([IMAGE])) == [sha(gzip.compress(one)) for one in IMAGE.layers]


def test_layers_that_images_share_may_be_links(tmp_path: Path) -> None:
    shared = layer({"a": b"1"})
    image = Built((shared, shared))
    manifest = [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["x/layer.tar", "y/layer.tar"]}]
    members = {
        "manifest.json": json.dumps(manifest).encode(),
        "c.json": image.config,
        "x/layer.tar": shared,
    }
    path = written(tmp_path, tar(members, {"y/layer.tar": "../x/layer.tar"}))
    with Archive(path) as archive:
        (found,) = archive.contents()
        for one in found.images[0].layers:
            assert pack(archive, one, tmp_path / "layer").diff_id == sha(shared)


def _docker(layers: object = ("l",), config: object = "c.json", links: dict[str, str] | None = None,
            **members: bytes) -> bytes:  # fmt: skip
    manifest = [{"Config": config, "RepoTags": ["a:1"], "Layers": layers}]
    given = {"manifest.json": json.dumps(manifest).encode(), "c.json": IMAGE.config, **members}
    return tar(given, links)


HOSTILE = {
    "not a tar": b"hello",
    "empty": b"",
    "another tar": tar({"etc/passwd": b"x"}),
    "no JSON": tar({"manifest.json": b"{"}),
    "nested": tar({"manifest.json": b"[" * 100_000}),
    "not a list": tar({"manifest.json": b"{}"}),
    "numbers": tar({"manifest.json": b"[1]"}),
    "no config": _docker(config="nowhere"),
    "config of the machine": _docker(config="../../../../etc/passwd"),
    "absolute config": _docker(config="/etc/passwd"),
    "fewer layers": _docker(layers=["l"]),
    "no layers": _docker(layers=[]),
    "layers are a word": _docker(layers="ll"),
    "config is a link outside": _docker(["a", "b"], "k", {"k": "/etc/passwd"}),
    "links in a circle": _docker(["a", "b"], "k", {"k": "m", "m": "k"}),
    "damaged OCI": tar({"oci-layout": b"", "index.json": b'{"manifests": [{"digest": "md5:1"}]}'}),
    "OCI with a path": tar(
        {"oci-layout": b"", "index.json": b'{"manifests": [{"digest": "sha256:../x"}]}'}
    ),
    "cut off": docker_archive(IMAGE, "a:1")[:1500],
}  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_image_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UsageError, match="is not an archive of an image") as caught:
        contents(written(tmp_path, content))
    assert "docker save" in (caught.value.hint or "")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        contents(tmp_path / "none.tar")
    with pytest.raises(OakError, match="cannot be read"):
        contents(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_damage_anywhere_never_is_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    image = Built((layer({"a": b"1"}), layer({"b": b"2"})))
    whole = data.draw(st.sampled_from([docker_archive(image, "a:1"), oci_layout([image], "a:1")]))
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for place in data.draw(st.lists(st.integers(0, max(0, len(damaged) - 1)), max_size=4)):
        if damaged:
            damaged[place] = data.draw(st.integers(0, 255))
    try:
        with Archive(written(tmp_path, bytes(damaged))) as archive:
            for found in archive.contents():
                for one in found.images[0].layers:
                    packed = pack(archive, one, tmp_path / "layer")
                    assert packed.diff_id in {sha(part) for part in image.layers}
    except OakError:
        pass


def test_a_layer_that_is_not_what_the_configuration_says_is_refused(tmp_path: Path) -> None:
    content = _docker(["a", "b"], a=IMAGE.layers[0], b=filler(3))
    with Archive(written(tmp_path, content)) as archive:
        (found,) = archive.contents()
        first, second = found.images[0].layers
        pack(archive, first, tmp_path / "layer")
        with pytest.raises(UsageError, match="is damaged"):
            pack(archive, second, tmp_path / "layer")


def test_which_image_and_its_name() -> None:
    one, two, none = NamedImages("a:1", ()), NamedImages("b:1", ()), NamedImages("", ())
    assert choose((one,), "") == one
    assert choose((one,), "local/x:1").name == "local/x:1"
    assert choose((none,), "x:1").name == "x:1"
    assert choose((one, two), "b:1") == two
    with pytest.raises(UsageError, match="has no name"):
        choose((none,), "")
    for name in ("", "c:1"):
        with pytest.raises(UsageError, match="several images: a:1, b:1"):
            choose((one, two), name)
