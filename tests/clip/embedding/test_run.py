"""A job from a folder to shards: order, counts, batches, going on, other processes, other jobs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from polylens.backbone.world import World
from polylens.errors import InvalidInput

from .toy_job import Job, digests, picture

Make = Callable[..., Job]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty pictures in two folders, each with a caption."""
    root = tmp_path / "photos"
    for i in range(20):
        file = root / ("a" if i < 9 else "b/c") / f"{i:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(i))
        file.with_suffix(".txt").write_text("word " * (i % 5 + 1) + str(i))
    return root


def test_rows_are_in_order_and_vectors_are_those_of_the_encoder(job: Make, folder: Path) -> None:
    one = job(folder, take="both", unit_size=7, dtype="float32")
    manifest = one.run()
    assert manifest is not None and (manifest["rows"], manifest["rejected"]) == (20, 0)
    assert [row["id"] for row in one.rows()] == [
        *(f"a/{i:02}.png" for i in range(9)),
        *(f"b/c/{i:02}.png" for i in range(9, 20)),
    ]
    assert [row["caption"] for row in one.rows()][:2] == ["word 0", "word word 1"]
    for kind in ("img_emb", "text_emb"):
        assert np.allclose(np.linalg.norm(one.vectors(kind), axis=1), 1, atol=1e-6)
    batch = [one.encoder.prepare_image(picture(i)) for i in range(4)]
    assert np.array_equal(one.vectors()[:4], one.encoder.embed_pixels(batch))


def test_batches_are_full_within_a_unit_and_texts_sorted_by_length(job: Make, folder: Path) -> None:
    one = job(folder, take="both", unit_size=10)
    one.run()
    assert one.toy.images_seen == [4, 4, 2] * 2
    for lengths in (one.toy.texts_seen[:3], one.toy.texts_seen[3:]):
        flat = [length for batch in lengths for length in batch]
        assert flat == sorted(flat) and len(flat) == 10


def test_the_names_are_those_of_clip_retrieval(job: Make, folder: Path) -> None:
    one = job(folder, unit_size=2)
    one.run()
    assert sorted(path.name for path in (one.out / "img_emb").iterdir())[:2] == [
        "img_emb_00.npy",
        "img_emb_01.npy",
    ]
    assert (one.out / "metadata" / "metadata_09.parquet").exists() and (one.out / "stats/09.json").exists()


def test_with_processes_it_is_the_same(job: Make, folder: Path) -> None:
    one, two = job(folder, take="both", unit_size=7), job(folder, take="both", unit_size=7)
    one.run()
    two.run(workers=2)
    assert digests(one.out) == digests(two.out) and len(digests(one.out)) == 13


@pytest.mark.parametrize("world", [2, 3])
def test_shared_by_processes_it_is_the_same(job: Make, folder: Path, world: int) -> None:
    one, shared = job(folder, unit_size=3), job(folder, unit_size=3)
    one.run()
    for rank in range(world):
        shared.run(world=World(rank, world, 0))
    assert digests(one.out) == digests(shared.out)


def test_what_is_done_is_not_done_again(job: Make, folder: Path) -> None:
    one = job(folder, unit_size=5)
    one.run()
    wanted = digests(one.out)
    (one.out / "stats" / "2.json").unlink()
    one.toy.images_seen.clear()
    one.run()
    assert one.toy.images_seen == [4, 1] and digests(one.out) == wanted


def test_progress_counts_every_sample_once_also_when_it_goes_on(job: Make, folder: Path) -> None:
    (folder / "bad.png").write_bytes(b"x")
    one = job(folder, unit_size=5)
    for left in ([], [2, 4]):
        for number in left:
            (one.out / "stats" / f"{number}.json").unlink()
        told: list[tuple[int, int, int]] = []
        one.run(report=lambda *counts, told=told: told.append(counts))
        assert tuple(map(sum, zip(*told, strict=True))) == (21, 1, 5)


def test_an_output_within_its_source_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="choose a folder outside"):
        Job(folder / "vectors", [folder]).run()


@pytest.mark.parametrize("changed", [{"batch_size": 5}, {"take": "texts"}, {"dtype": "float32"}])
def test_another_job_in_the_same_folder_is_refused(job: Make, folder: Path, changed: dict[str, Any]) -> None:
    one = job(folder)
    one.run()
    with pytest.raises(InvalidInput, match=next(iter(changed))):
        Job(one.out, [folder], **changed).run()
