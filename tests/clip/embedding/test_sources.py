"""Every kind of source gives the same samples, whatever it is packed in."""

import base64
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from polylens.clip.embedding.errors import BadSource
from polylens.clip.embedding.locations import braces, expand, names_of
from polylens.clip.embedding.sources.kinds import kind_of

from .toy_job import Job, digests, picture

Make = Callable[..., Job]
COUNT = 11
TEXTS = [f"picture {i}, 图片, " + "word " * (i % 3) for i in range(COUNT)]
GOLDEN = Path(__file__).parents[2] / "golden" / "datasets"


def tar_of(path: Path, members: list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def members(numbers: range) -> list[tuple[str, bytes]]:
    """As img2dataset writes them."""
    found = []
    for i in numbers:
        about = {"url": f"http://x/{i}", "caption": TEXTS[i], "width": 5 * i, "exif": {"a": [i]}}
        found += [
            (f"{i:09}.jpg", picture(i)),
            (f"{i:09}.txt", TEXTS[i].encode()),
            (f"{i:09}.json", json.dumps(about).encode()),
        ]
    return found


def tars(root: Path) -> list[object]:
    tar_of(root / "00000.tar", members(range(4)))
    tar_of(root / "00001.tar", members(range(4, COUNT)))
    return [root / "{00000..00001}.tar"]


def folder(root: Path) -> list[object]:
    for i in range(COUNT):
        (root / f"{i:03}.png").write_bytes(picture(i))
        (root / f"{i:03}.txt").write_text(TEXTS[i], "utf-8")
    return [root]


def parquet_bytes(root: Path) -> list[object]:
    cells = [{"bytes": picture(i), "path": None} for i in range(COUNT)]
    table = pa.table({"image": cells, "caption": TEXTS, "width": list(range(COUNT))})
    parquet.write_table(table, root / "t.parquet", row_group_size=3)
    return [root / "*.parquet"]


def parquet_paths(root: Path) -> list[object]:
    (root / "files").mkdir()
    for i in range(COUNT):
        (root / "files" / f"{i}.png").write_bytes(picture(i))
    names = [f"files/{i}.png" for i in range(COUNT)]
    parquet.write_table(pa.table({"image_path": names, "text": TEXTS}), root / "t.parquet")
    return [root / "t.parquet"]


def jsonl(root: Path) -> list[object]:
    rows = [
        {"image_base64": base64.b64encode(picture(i)).decode(), "caption": TEXTS[i]} for i in range(COUNT)
    ]
    (root / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return [root / "t.jsonl"]


def url(root: Path) -> list[object]:
    with zipfile.ZipFile(root / "all.zip", "w") as archive:
        for i in range(COUNT):
            archive.writestr(f"in/{i:03}.png", picture(i))
            archive.writestr(f"in/{i:03}.txt", TEXTS[i])
    return [f"zip://in::file://{root}/all.zip"]


def tars_by_url(root: Path) -> list[object]:
    tars(root)
    memory = fsspec.filesystem("memory")
    memory.makedirs("/bucket", exist_ok=True)
    for name in ("00000.tar", "00001.tar"):
        memory.pipe_file(f"/bucket/{name}", (root / name).read_bytes())
    return ["memory://bucket/*.tar"]


MAKERS = [folder, tars, parquet_bytes, parquet_paths, jsonl, url, tars_by_url]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_every_source_gives_the_same_rows(job: Make, tmp_path: Path, make: Callable[..., Any]) -> None:
    root = tmp_path / "source"
    root.mkdir()
    one = job(*make(root), take="both", unit_size=4, batch_size=1, dtype="float32")
    manifest = one.run()
    assert manifest is not None and (manifest["rows"], manifest["rejected"]) == (COUNT, 0)
    assert [row["caption"] for row in one.rows()] == [text.strip() for text in TEXTS] or [
        row["caption"] for row in one.rows()
    ] == TEXTS
    assert len({row["id"] for row in one.rows()}) == COUNT
    pixels = [one.encoder.prepare_image(picture(i)) for i in range(COUNT)]
    want = np.concatenate([one.encoder.embed_pixels([one_CHW]) for one_CHW in pixels])
    assert np.array_equal(one.vectors(), want)
    ids = [one.encoder.prepare_text(text.strip()) for text in TEXTS]
    assert np.allclose(one.vectors("text_emb"), np.concatenate([one.encoder.embed_ids([i]) for i in ids]))


def test_a_text_file_gives_texts(job: Make, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("\n".join([*TEXTS, "", "last"]), "utf-8")
    one = job(tmp_path / "t.txt", take="texts", unit_size=5)
    one.run()
    assert [row["caption"] for row in one.rows()] == [*TEXTS, "last"]
    assert one.rejects() == {f"t.txt:{COUNT + 1}": "the text is empty"}
    assert one.rows()[-1]["id"] == f"t.txt:{COUNT + 2}"
    assert not (one.out / "img_emb").exists() and len(one.vectors("text_emb")) == COUNT + 1


def test_further_columns_are_kept(job: Make, tmp_path: Path) -> None:
    one = job(*tars(tmp_path))
    one.run()
    row = one.rows()[7]
    assert row == {
        "id": "00001.tar/000000007",
        "image_path": "000000007",
        "caption": TEXTS[7].strip(),
        "url": "http://x/7",
        "caption_": TEXTS[7] if TEXTS[7] != TEXTS[7].strip() else None,
        "width": 35,
        "exif": '{"a": [7]}',
    }


def test_columns_of_mixed_kinds_become_the_wider(job: Make, tmp_path: Path) -> None:
    values: list[Any] = [1, 2.5, None, True, "x", [1, {"y": "\ud800"}], 2**70]
    lines = [
        json.dumps({"text": f"t{i}", "v": value, "n": i / 2 if i else 0}) for i, value in enumerate(values)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    one = job(tmp_path / "t.jsonl", take="texts")
    one.run()
    found = [row["v"] for row in one.rows()]
    assert found == ["1", "2.5", None, "true", "x", '[1, {"y": "\\ud800"}]', str(2**70)]
    assert [row["n"] for row in one.rows()] == [i / 2 for i in range(7)]


def test_a_folder_of_datasets_is_read_without_that_package(job: Make) -> None:
    """tests/golden/datasets was written by datasets 5.2.0: two splits, pictures, captions."""
    one = job(GOLDEN, take="both", unit_size=2)
    one.run()
    assert [row["id"] for row in one.rows()] == [
        *(f"train/data-00000-of-00002.arrow:{i}" for i in range(2)),
        "train/data-00001-of-00002.arrow:0",
        *(f"test/data-00000-of-00001.arrow:{i}" for i in range(2)),
    ]
    assert [row["label"] for row in one.rows()] == [0, 1, 2, 10, 11]
    pixels = [one.encoder.prepare_image(picture(i)) for i in (0, 1, 2, 10, 11)]
    cosines = (one.vectors() * one.encoder.embed_pixels(pixels)).sum(axis=1)
    assert (cosines > 0.999).all()


def test_gzipped_tars_are_read(job: Make, tmp_path: Path) -> None:
    one = job(tar_of(tmp_path / "a.tar.gz", members(range(3)), "w:gz"))
    one.run()
    assert len(one.rows()) == 3


@pytest.mark.parametrize("damage", ["cut in a picture", "cut in a header", "cut between", "header", "empty"])
def test_a_damaged_tar_gives_what_is_whole_and_says_so(job: Make, tmp_path: Path, damage: str) -> None:
    file = tar_of(tmp_path / "a.tar", [(f"{i}.png", picture(i) + bytes(2000)) for i in range(6)])
    data = bytearray(file.read_bytes())
    with tarfile.open(file) as tar:
        fourth = tar.getmembers()[3]
    if damage == "header":
        data[fourth.offset : fourth.offset + 300] = b"x" * 300
    cuts = {
        "cut in a picture": fourth.offset_data + 100,
        "cut in a header": fourth.offset + 100,
        "cut between": fourth.offset,
        "empty": 0,
    }
    file.write_bytes(data[: cuts.get(damage)])
    one = job(file)
    one.run()
    assert [row["image_path"] for row in one.rows()] == ([] if damage == "empty" else ["0", "1", "2"])
    (reason,) = one.rejects().values()
    assert "the tar is damaged after" in reason


def test_control_the_library_alone_ends_quietly_at_a_damaged_header(tmp_path: Path) -> None:
    file = tar_of(tmp_path / "a.tar", [(f"{i}.png", picture(i)) for i in range(6)])
    with tarfile.open(file) as tar:
        fourth = tar.getmembers()[3]
    data = bytearray(file.read_bytes())
    data[fourth.offset : fourth.offset + 300] = b"x" * 300
    file.write_bytes(data)
    with tarfile.open(file, "r|*") as tar:
        assert len(list(tar)) == 3


def test_keys_that_come_twice_are_two_samples(job: Make, tmp_path: Path) -> None:
    twice = [("a.png", picture(1)), ("b.png", picture(2)), ("a.png", picture(3)), ("a.png", picture(4))]
    one = job(tar_of(tmp_path / "x.tar", twice))
    one.run()
    assert [row["id"] for row in one.rows()] == ["x.tar/a", "x.tar/b", "x.tar/a#2", "x.tar/a#3"]


def test_what_a_table_may_not_name_is_refused(job: Make, tmp_path: Path) -> None:
    cells = ["https://example.org/x.png", "s3://bucket/x.png", "absent.png", None, "ok.png"]
    (tmp_path / "ok.png").write_bytes(picture(1))
    parquet.write_table(pa.table({"path": cells}), tmp_path / "t.parquet")
    one = job(tmp_path / "t.parquet")
    one.run()
    reasons = list(one.rejects().values())
    assert [row["image_path"] for row in one.rows()] == ["ok.png"]
    assert reasons[0].startswith("the picture is a URL") and reasons[1] == reasons[0]
    assert reasons[2:] == ["cannot be opened: No such file or directory", "has no picture"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.parquet", b"no parquet", "no parquet table"),
        ("t.csv", b"a,b", "of no known kind"),
        ("absent", None, "absent"),
        ("absent*.tar", None, "nothing matches"),
        ("t.jsonl", b'{"a": 1}\n', "choose with --image-column"),
    ],
)
def test_sources_that_are_none_are_refused(
    job: Make, tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadSource, match=words):
        job(tmp_path / name).run()


def test_an_empty_folder_holds_nothing(job: Make, tmp_path: Path) -> None:
    (tmp_path / "empty" / ".hidden").mkdir(parents=True)
    (tmp_path / "empty" / ".hidden" / "x.png").write_bytes(picture(1))
    with pytest.raises(BadSource, match="holds nothing"):
        job(tmp_path / "empty").run()


def test_braces_and_globs() -> None:
    assert braces("a{08..11}.tar") == ["a08.tar", "a09.tar", "a10.tar", "a11.tar"]
    assert braces("{x,y}/{1..2}") == ["x/1", "x/2", "y/1", "y/2"]
    assert braces("a{}b{x}") == ["a{}b{x}"] and braces("{2..0}") == ["2", "1", "0"]
    assert expand("no/glob/{1..2}.tar") == ["no/glob/1.tar", "no/glob/2.tar"]
    assert names_of(["/d/a/1.tar", "/d/b/1.tar"]) == ["a/1.tar", "b/1.tar"]
    assert names_of(["s3://b/x.tar"]) == ["x.tar"]


def test_sources_of_several_kinds_are_refused(tmp_path: Path) -> None:
    for name in ("a.tar", "b.jsonl"):
        (tmp_path / name).touch()
    with pytest.raises(BadSource, match="several kinds"):
        kind_of([str(tmp_path / "a.tar"), str(tmp_path / "b.jsonl")])


def test_a_source_that_fails_now_and_then_is_tried_again(
    job: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polylens.clip.embedding.sources import tars as module

    source, calm = tars(tmp_path), job(*tars(tmp_path))
    calm.run()
    real, calls = module.open_location, []

    def failing(location: str) -> Any:
        calls.append(location)
        if len(calls) in (1, 3):
            raise ConnectionError("the network is away")
        return real(location)

    monkeypatch.setattr(module, "open_location", failing)
    one = job(*source)
    one.run()
    assert len(calls) == 4 and digests(one.out) == digests(calm.out)
