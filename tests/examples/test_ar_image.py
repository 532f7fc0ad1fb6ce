"""`scripts/ar-image`: what it makes of unpacked packages, without fetching any."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from oakctl.client.image_archive import Archive, ArchivedImage

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "ar-image"
LIBRARIES = "usr/lib/x86_64-linux-gnu"


@pytest.fixture
def debian(tmp_path: Path) -> Path:
    """Where an earlier run has left packages of a release."""
    root = tmp_path / "debian" / "bookworm-amd64"
    for name, mode in (
        ("usr/bin/python3.11", 0o755),
        ("lib64/ld-linux-x86-64.so.2", 0o755),
        (f"{LIBRARIES}/blas/libblas.so.3", 0o644),
        ("usr/share/doc/python3/copyright", 0o644),
        ("usr/lib/python3/dist-packages/numpy/tests/test_all.py", 0o644),
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(mode)
    (root / "usr/bin/python3").symlink_to("python3.11")
    return root.parent


def made(debian: Path, out: Path, *options: str) -> bytes:
    words = (*options, "--arch", "amd64", "--debian", str(debian), str(out))
    subprocess.run([sys.executable, "-B", str(SCRIPT), *words], check=True, timeout=120)
    return out.read_bytes()


def layers(path: Path) -> tuple[ArchivedImage, list[dict[str, tarfile.TarInfo]]]:
    with Archive(path) as archive:
        (named,) = archive.contents()
        assert named.name == "local/ar:1"
        (image,) = named.images
        found = []
        for layer in image.layers:
            with archive.layer(layer) as file, tarfile.open(fileobj=io.BytesIO(file.read())) as tar:
                found.append({member.name: member for member in tar})
    return image, found


def test_two_layers_as_a_debian_that_is_set_up(debian: Path, tmp_path: Path) -> None:
    out = tmp_path / "ar.tar"
    first = made(debian, out)
    image, (packages, application) = layers(out)
    assert image.platform == "linux/amd64"
    assert packages["usr/bin/python3.11"].mode == 0o755
    assert packages["usr/bin/python3"].linkname == "python3.11"
    assert packages["lib64"].linkname == "usr/lib64"
    assert packages["usr/lib64/ld-linux-x86-64.so.2"].isreg()
    assert packages[f"{LIBRARIES}/libblas.so.3"].linkname == "blas/libblas.so.3"
    assert not [name for name in packages if "doc" in name or "tests" in name]
    assert {"app/main.py", "app/ar/client.py"} <= application.keys()
    assert made(debian, tmp_path / "again.tar") == first, "the same packages make the same bytes"


def test_another_application_is_another_layer_on_top(debian: Path, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "main.py").write_text("print('hello')\n")
    made(debian, tmp_path / "one.tar")
    made(debian, tmp_path / "two.tar", "--app", str(app))
    (one, _), (two, _) = layers(tmp_path / "one.tar"), layers(tmp_path / "two.tar")
    assert one.layers[0].diff_id == two.layers[0].diff_id
    assert one.layers[1].diff_id != two.layers[1].diff_id


def test_what_is_missing_is_said(debian: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-B", str(SCRIPT), "--app", str(tmp_path), "--arch", "amd64"]
    words += ["--debian", str(debian), str(tmp_path / "out.tar")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"ar-image: {tmp_path} holds no main.py\n"
