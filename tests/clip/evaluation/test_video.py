"""Video data sets in their layouts, made here from coloured shapes, evaluated end to end with `mini`."""

import csv
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import polylens
import pytest
from polylens.clip.encoder import Encoder
from polylens.clip.evaluation.video_data import open_video_captions, open_video_classes
from polylens.errors import InvalidInput

from .command import result_of, run
from .layouts import Layouts
from .naive import accuracies, recalls

CLASSES = ("red circle", "blue circle", "green circle", "yellow square", "purple square", "red square")
SENTENCES = ("a video of a {c}.", "{c}")


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


def told_of(path: Path) -> str:
    """What the video shows, by its folder."""
    return path.parent.name.replace("_", " ")


def captions_of(path: Path) -> list[str]:
    """Two captions that no other video has."""
    take = "second" if path.stem.endswith("20") else "first"
    return [f"the {take} {told_of(path)}", f"a {take} video of a {told_of(path)}"]


@pytest.fixture(scope="module")
def folders(layouts: Layouts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """val/CLASS/ID_START_END.mp4 with two videos of each class, and the files that describe them."""
    root = tmp_path_factory.mktemp("videos")
    paths, rows = [], []
    for label, what in enumerate(CLASSES):
        for take in range(2):
            name = f"id{label}{take}"
            path = root / "val" / what.replace(" ", "_") / f"{name}_{10 * take:06d}_{10 * take + 10:06d}.mp4"
            film(path, [layouts.picture(what, 100 * label + 10 * take + i, noise=0) for i in range(9)])
            rows.append([what, name, 10 * take, 10 * take + 10, "validate"])
            paths.append(path)
    other = ["juggling", "lost", 0, 10, "train"]  # of another split, and not there
    headed = [["label", "youtube_id", "time_start", "time_end", "split"], other, *rows]
    write_csv(root / "kinetics.csv", headed)
    (root / "lines.txt").write_text("".join(f"{path.relative_to(root)} {told_of(path)}\n" for path in paths))
    (root / "names.txt").write_text("\n".join(CLASSES))
    write_csv(root / "numbers.csv", [[path.name, CLASSES.index(told_of(path))] for path in paths])
    (root / "sentences.txt").write_text("\n".join(SENTENCES))
    videos = [{"video_id": path.stem, "split": "test" if row else "train"} for row, path in enumerate(paths)]
    sentences = [{"video_id": path.stem, "caption": text} for path in paths for text in captions_of(path)]
    (root / "msrvtt.json").write_text(json.dumps({"videos": videos, "sentences": sentences}))
    named = [[f"ret{row}", f"msr{row}", p.stem, captions_of(p)[0]] for row, p in enumerate(paths[::2])]
    write_csv(root / "msrvtt.csv", [["key", "vid_key", "video_id", "sentence"], *named])
    return root


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        ("", 1),
        ("", 8),
        ("--annotations {}/kinetics.csv", 2),
        ("--annotations {}/lines.txt", 2),
        ("--annotations {}/numbers.csv --classes {}/names.txt", 2),
    ],
)
def test_classification_in_every_layout(
    folders: Path, mini: Encoder, tmp_path: Path, options: str, frames: int
) -> None:
    command = ("video-classification", "--data", folders, "--dataset", "k400", "--frames", frames)
    given = ("--templates", folders / "sentences.txt", *options.replace("{}", str(folders)).split())
    content = result_of(tmp_path / "out", *command, *given, XDG_CACHE_HOME=str(folders))
    assert content["task"] == f"zeroshot_video_classification/{frames}_frames"
    paths = sorted(folders.rglob("*.mp4"))
    texts = [sentence.format(c=name) for name in CLASSES for sentence in SENTENCES]
    means = mini.encode_texts(texts).reshape(len(CLASSES), len(SENTENCES), -1).mean(1)
    classes = means / np.linalg.norm(means, axis=1, keepdims=True)
    scores = mini.encode_videos(paths, frames=frames) @ classes.T
    labels = np.array([CLASSES.index(told_of(path)) for path in paths])
    expected = accuracies(scores, labels[:, None].tolist())
    expected["acc1_acc5_mean"] = (expected["acc1"] + expected["acc5"]) / 2
    assert content["metrics"] == pytest.approx(expected, abs=1e-9)
    wrong = accuracies(scores, (labels[:, None] + 1).tolist())
    assert expected["acc1"] > 2 / 6 > wrong["acc1"]  # mini knows the shapes


@pytest.mark.parametrize(("file", "captions"), [("msrvtt.json", 2), ("msrvtt.csv", 1)])
def test_retrieval_in_both_layouts(folders: Path, tmp_path: Path, file: str, captions: int) -> None:
    command = ("video-retrieval", "--data", folders, "--annotations", folders / file, "--frames", 2)
    content = result_of(tmp_path / "out", *command)
    assert (content["task"], content["dataset"]) == ("zeroshot_video_retrieval/2_frames", "msrvtt")
    paths = sorted(folders.rglob("*.mp4"), key=lambda path: (CLASSES.index(told_of(path)), path.name))
    paths = paths[1:] if file == "msrvtt.json" else paths[::2]  # one is of another split
    encoder = polylens.load("mini", preprocess="retrieval")
    texts = [text for path in paths for text in captions_of(path)[:captions]]
    scores = encoder.encode_texts(texts) @ encoder.encode_videos(paths, frames=2).T
    expected = recalls(scores.astype(float), np.repeat(np.arange(len(paths)), captions))
    renamed = {name.replace("image_", "video_"): value for name, value in expected.items()}
    assert content["metrics"] == pytest.approx(renamed, abs=1e-9)
    assert 0.3 < renamed["video_retrieval_recall@5"]


def test_published_rows_stand_beneath(folders: Path) -> None:
    command = ("evaluate", "video-classification", "--data", folders, "--dataset", "k400", "--limit", 1)
    shown = run(*command, "--frames", 1, "--compare", XDG_CACHE_HOME=str(folders))
    assert "acc1_acc5_mean" in shown and "published: InternVL-C" in shown


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
