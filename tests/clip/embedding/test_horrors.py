"""A folder of all that may lie in one: the good pictures are embedded, each of the others has its reason."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .toy_job import Job, encoded, picture

Make = Callable[..., Job]


def bomb() -> bytes:
    """A PNG of a few bytes that claims 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def gif() -> bytes:
    frames = [Image.new("P", (8, 8), i) for i in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


COLOURS = Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 50).convert("RGB")
GOOD = {
    "plain.jpg": encoded(COLOURS, "JPEG"),
    "captioned.png": picture(1),
    "cmyk.jpg": encoded(COLOURS.convert("CMYK"), "JPEG"),
    "deep.png": encoded(Image.fromarray(np.arange(3072, dtype=np.uint16).reshape(48, 64) * 20)),
    "SHOUTED.JPEG": encoded(COLOURS, "JPEG"),
    "really_a_webp.jpg": encoded(COLOURS, "WEBP"),
    "sub folder/ leading and trailing .png": picture(2),
    "odd/new\nline.png": picture(3),
    "odd/quote\"'`$(x).png": picture(4),
    "odd/图片 🦊.png": picture(5),
    "odd/\udcff\udcfe.png": picture(6),  # bytes that are no UTF-8
    "odd/{1..2}*?[x].png": picture(7),
    "odd/-rf.png": picture(8),
}
BAD = {
    "truncated.jpg": (encoded(COLOURS, "JPEG", quality=95)[:-300], "damaged or truncated"),
    "empty.png": (b"", "has 0 bytes"),
    "bomb.png": (bomb(), "too many pixels"),
    "animated.gif": (gif(), "expected JPEG, PNG or WEBP"),
    "text.jpg": (b"I am a text", "no image that can be read"),
    "sliver.png": (encoded(Image.new("RGB", (5000, 2), "red")), "expected a ratio"),
    "notes.txt": (b"a text of nothing", "has no picture"),
    "report.pdf": (b"%PDF-1.7", "neither a picture nor a caption"),
    "no_suffix": (b"x", "neither a picture nor a caption"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "horrors"
    for name, content in {**GOOD, **{name: content for name, (content, _) in BAD.items()}}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (root / "captioned.txt").write_text("红苹果", "utf-8")
    (root / "plain.txt").write_bytes(b"caf\xe9, not UTF-8")
    (root / "captioned.json").write_text('{"year": 2024}')
    (root / "deep.json").write_text("{broken")
    (root / ".DS_Store").write_bytes(b"x")
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "nowhere.png").symlink_to(root / "absent")
    os.mkfifo(root / "pipe.png")
    return root


@pytest.mark.parametrize("workers", [0, 1])
def test_good_ones_are_embedded_and_the_others_listed(job: Make, folder: Path, workers: int) -> None:
    one = job(folder)
    manifest = one.run(workers=workers)
    ids = {name.replace("\udcff\udcfe", "\\xff\\xfe") for name in GOOD}
    assert {row["id"] for row in one.rows()} == ids
    rejects = one.rejects()
    assert rejects.keys() == BAD.keys() | {"nowhere.png", "pipe.png", "loop"}
    for name, (_, words) in BAD.items():
        assert words in rejects[name], name
    assert "No such file" in rejects["nowhere.png"] and "not a regular file" in rejects["pipe.png"]
    assert manifest is not None and (manifest["rows"], manifest["rejected"]) == (len(GOOD), len(BAD) + 3)
    assert str(folder) not in str(rejects)
    vectors = dict(zip([row["id"] for row in one.rows()], one.vectors(), strict=True))
    assert all(np.isfinite(vector).all() for vector in vectors.values())
    assert np.dot(vectors["plain.jpg"], vectors["cmyk.jpg"]) > 0.95


def test_captions_and_columns_that_cannot_be_read_cost_no_picture(job: Make, folder: Path) -> None:
    one = job(folder)
    one.run()
    rows = {row["id"]: row for row in one.rows()}
    assert (rows["captioned.png"]["caption"], rows["captioned.png"]["year"]) == ("红苹果", 2024)
    assert rows["plain.jpg"]["caption"] is None
    assert rows["deep.png"]["json_error"].startswith("Expecting")


def test_for_both_a_picture_needs_its_caption(job: Make, folder: Path) -> None:
    one = job(folder, take="both")
    one.run()
    assert [row["id"] for row in one.rows()] == ["captioned.png"]
    assert "not UTF-8" in one.rejects()["plain.jpg"] and one.rejects()["cmyk.jpg"] == "has no caption"


def test_for_texts_pictures_are_not_opened(job: Make, folder: Path) -> None:
    one = job(folder, take="texts")
    one.run()
    assert [row["caption"] for row in one.rows()] == ["红苹果", "a text of nothing"]


def test_control_the_fixture_would_stop_a_plain_loop(folder: Path) -> None:
    with pytest.raises(OSError):
        for file in sorted(folder.rglob("*.jpg")):
            with Image.open(file) as image:
                image.load()
