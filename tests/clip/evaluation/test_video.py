"""Video data sets in their layouts, made here from coloured shapes, evaluated end to end with `mini`."""

import csv
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from polylens.cli import app
from polylens.clip.encoder import Encoder
from polylens.clip.evaluation.video import evaluate_video_classification, evaluate_video_retrieval
from polylens.clip.evaluation.video_data import open_video_captions, open_video_classes
from polylens.errors import InvalidInput
from typer.testing import CliRunner

CLASSES = ("red circle", "blue circle", "green circle", "yellow square", "purple square", "red square")


def film(path: Path, pictures: Sequence[Any]) -> None:
    """A video of these pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as output:
        stream = output.add_stream("libx264", rate=Fraction(5), options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 96, 84, "yuv420p"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


@pytest.fixture(scope="module")
def folders(layouts: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """val/CLASS/ID_START_END.mp4 with two videos of each class, and the files that describe them."""
    root = tmp_path_factory.mktemp("videos")
    rows, told = [], []
    for label, what in enumerate(CLASSES):
        for take in range(2):
            name = f"id{label}{take}"
            path = root / "val" / what.replace(" ", "_") / f"{name}_{10 * take:06d}_{10 * take + 10:06d}.mp4"
            film(path, [layouts.picture(what, 100 * label + 10 * take + i, noise=0) for i in range(9)])
            rows.append([what, name, 10 * take, 10 * take + 10, "validate"])
            told.append((path, what))
    with (root / "kinetics.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["label", "youtube_id", "time_start", "time_end", "split"], *rows])
    (root / "lines.txt").write_text("".join(f"{path.relative_to(root)} {what}\n" for path, what in told))
    stems = [path.stem for path, _ in told]
    (root / "msrvtt.json").write_text(
        json.dumps(
            {
                "videos": [
                    {"video_id": one, "split": "test" if i else "train"} for i, one in enumerate(stems)
                ],
                "sentences": [
                    {"video_id": path.stem, "caption": text}
                    for path, what in told
                    for text in (f"a video of a {what}", what)
                ],
            }
        )
    )
    with (root / "msrvtt.csv").open("w", newline="") as file:
        lines = [[f"ret{i}", f"msr{i}", path.stem, what] for i, (path, what) in enumerate(told[::2])]
        csv.writer(file).writerows([["key", "vid_key", "video_id", "sentence"], *lines])
    return root


def test_every_layout_gives_the_same_videos_and_classes(folders: Path, tmp_path: Path) -> None:
    by_folder = open_video_classes(folders)
    by_csv = open_video_classes(folders, annotations=folders / "kinetics.csv")
    by_line = open_video_classes(folders, annotations=folders / "lines.txt")
    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    numbers = "".join(
        f"{path.name},{CLASSES.index(path.parent.name.replace('_', ' '))}\n"
        for path in sorted(folders.rglob("*.mp4"))
    )
    (tmp_path / "numbers.csv").write_text(numbers)
    by_number = open_video_classes(
        folders, annotations=tmp_path / "numbers.csv", classes=tmp_path / "names.txt"
    )
    wanted = {(path, path.parent.name.replace("_", " ")) for path in folders.rglob("*.mp4")}
    assert len(wanted) == 12
    for data in (by_folder, by_csv, by_line, by_number):
        found = {(path, data.classes[label]) for path, label in data.items.rows(0, 1)}
        assert found == wanted


def test_mini_knows_the_videos_and_figures_are_a_naive_twins(folders: Path, mini: Encoder) -> None:
    data = open_video_classes(folders)
    for frames in (1, 8):
        found = evaluate_video_classification(mini, data, frames=frames)
        rows = list(data.items.rows(0, 1))
        vectors = mini.encode_videos([path for path, _ in rows], frames=frames)
        classes = []
        for name in data.classes:
            mean = mini.encode_texts([text.format(c=name) for text in data.templates]).mean(0)
            classes.append(mean / np.linalg.norm(mean))
        order = np.argsort(-(vectors @ np.stack(classes).T), axis=1)
        labels = np.array([label for _, label in rows])[:, None]
        first, fifth = (order[:, :1] == labels).any(1).mean(), (order[:, :5] == labels).any(1).mean()
        assert found["acc1"] == pytest.approx(first) and found["acc5"] == pytest.approx(fifth)
        assert found["acc1_acc5_mean"] == pytest.approx((first + fifth) / 2)
        assert found["acc1"] > 2 / 6


def test_text_to_video_retrieval(folders: Path, mini: Encoder) -> None:
    data = open_video_captions(folders, folders / "msrvtt.json")
    assert len(data.items) == 11  # one of the twelve is of another split
    found = evaluate_video_retrieval(mini, data, frames=2)
    assert set(found) == {f"{way}_retrieval_recall@{k}" for way in ("video", "text") for k in (1, 5, 10)}
    assert found["video_retrieval_recall@5"] > 5 / 11
    single = open_video_captions(folders, folders / "msrvtt.csv")
    rows = list(single.items.rows(0, 1))
    videos = mini.encode_videos([path for path, _ in rows], frames=2)
    scores = mini.encode_texts([text for _, (text,) in rows]) @ videos.T
    ranks = np.array([(row >= row[i]).sum() for i, row in enumerate(scores)])
    found = evaluate_video_retrieval(mini, single, frames=2)
    for k in (1, 5):
        assert found[f"video_retrieval_recall@{k}"] == pytest.approx((ranks <= k).mean())


def test_the_commands_print_and_keep_results(folders: Path, tmp_path: Path) -> None:
    def run(*arguments: object) -> str:
        call = ["evaluate", *map(str, arguments), "--out", str(tmp_path)]
        result = CliRunner().invoke(app, call, catch_exceptions=False, env={"COLUMNS": "200"})
        assert result.exit_code == 0, result.output
        return result.stdout

    shown = run("video-classification", "--data", folders, "--dataset", "k400", "--frames", 1, "--compare")
    assert "acc1_acc5_mean" in shown and "published: InternVL-C" in shown
    run("video-retrieval", "--data", folders, "--annotations", folders / "msrvtt.csv", "--frames", 2)
    kept = {json.loads(path.read_text())["task"] for path in tmp_path.glob("*.json")}
    assert kept == {"zeroshot_video_classification/1_frames", "zeroshot_video_retrieval/2_frames"}


def test_what_is_missing_is_named(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text((folders / "lines.txt").read_text() + "val/lost.mp4 red circle\n")
    with pytest.raises(
        InvalidInput, match=r"1 of the 13 videos of more\.txt are not below .*: val/lost\.mp4"
    ):
        open_video_classes(folders, annotations=tmp_path / "more.txt")
    kept = open_video_classes(folders, annotations=tmp_path / "more.txt", skip_missing=True)
    assert len(kept.items) == 12
    (tmp_path / "names.txt").write_text("red circle\n")
    with pytest.raises(InvalidInput, match=r"classes without a name \(5\)"):
        open_video_classes(folders, classes=tmp_path / "names.txt")
    with pytest.raises(InvalidInput, match="holds no video"):
        open_video_classes(tmp_path)
    with pytest.raises(InvalidInput, match=r"names\.txt, line 1: expected a video and its label"):
        open_video_classes(folders, annotations=tmp_path / "names.txt")
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(InvalidInput, match=r"bad\.json cannot be read as MSR-VTT"):
        open_video_captions(folders, tmp_path / "bad.json")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InvalidInput, match="has no column video_id or video; it has a, b"):
        open_video_captions(folders, tmp_path / "bad.csv")
