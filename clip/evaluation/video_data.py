"""Where video data sets keep their videos, classes and captions: Kinetics and MSR-VTT, and plain folders.

Videos are found by their names wherever they lie below the root.
"""

import csv
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...backbone.errors import some
from ...errors import InvalidInput
from ..videos import SUFFIXES
from .classification import Labelled
from .image_text import Captioned
from .items import Listed
from .prompts import read_classes, read_templates

TEMPLATES = (
    "a video of {c}.",
    "a video of a person {c}.",
    "a photo of {c}.",
    "a photo of a person {c}.",
    "{c}.",
)
SPLITS = {"val": ("val", "validate", "validation")}
Row = Mapping[str, str]


def open_video_classes(
    root: Path,
    *,
    annotations: Path | None = None,
    split: str = "val",
    classes: Path | None = None,
    templates: Path | None = None,
    skip_missing: bool = False,
) -> Labelled:
    """Videos with their classes: root/CLASS/VIDEO.mp4 (or root/SPLIT/CLASS/...), or those of a CSV file.

    The file is one of Kinetics (columns label, youtube_id, time_start, time_end, split), or has a path and a
    label in each line (a number needs `classes`, their names). Videos that lie nowhere below the root are an
    error, or left out with `skip_missing`: those of Kinetics vanish from the net.
    """
    names = read_classes(classes, root.name) if classes else None
    if annotations is None:
        rows = _folders(root / split if (root / split).is_dir() else root)
    else:
        rows = _found(_labels(annotations, split), root, annotations, skip_missing)
    if not rows:
        raise InvalidInput(
            f"{root} holds no video of the split {split!r}, expected {', '.join(sorted(SUFFIXES))}"
        )
    if names is None:
        names = tuple(sorted({label for _, label in rows}))
    index = {name.replace("_", " "): place for place, name in enumerate(names)}
    index |= {str(place): place for place in range(len(names)) if str(place) not in index} if classes else {}
    labels = [label.replace("_", " ") for _, label in rows]
    if unknown := sorted(set(labels) - set(index)):
        raise InvalidInput(f"classes without a name ({len(unknown)}): {some(unknown)}")
    texts = read_templates(templates, root.name) if templates else TEMPLATES
    called = tuple(name.replace("_", " ") for name in names)
    return Labelled(Listed([path for path, _ in rows], [index[label] for label in labels]), called, texts)


def open_video_captions(
    root: Path, annotations: Path, *, split: str = "test", skip_missing: bool = False
) -> Captioned:
    """Videos with their captions, one or more: MSR-VTT's JSON, or a CSV file with `video_id` and `sentence`.

    The JSON file has "videos" (video_id, split) and "sentences" (video_id, caption).
    """
    if annotations.suffix == ".json":
        told = _msrvtt(annotations, split)
    else:
        told = [
            (_of(row, annotations, "video_id", "video"), _of(row, annotations, "sentence", "caption"))
            for row in _rows(annotations)
        ]
    captions: dict[str, list[str]] = {}
    for video, caption in told:
        captions.setdefault(video, []).append(caption)
    rows = _found(((video, video) for video in captions), root, annotations, skip_missing)
    if not rows:
        raise InvalidInput(f"{annotations.name} has no video of the split {split!r}")
    return Captioned(Listed([path for path, _ in rows], [captions[video] for _, video in rows]))


def _folders(root: Path) -> list[tuple[Path, str]]:
    """Every video of a folder of class folders."""
    if not root.is_dir():
        raise InvalidInput(f"{root} is not a folder of class folders")
    return [
        (path, folder.name)
        for folder in sorted(root.iterdir())
        if folder.is_dir()
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
    ]


def _labels(file: Path, split: str) -> list[tuple[str, str]]:
    """(name of the video, label) of each line of the split."""
    with _opened(file) as lines:
        first = lines.readline()
    if "label" not in first.split(","):
        return _plain_lines(file)
    names = SPLITS.get(split, (split,))
    rows = [row for row in _rows(file) if row.get("split", split) in names]
    if rows and "youtube_id" not in rows[0]:
        return [(_of(row, file, "path", "video"), row["label"]) for row in rows]
    return [(_kinetics_name(row, file), row["label"]) for row in rows]


def _kinetics_name(row: Row, file: Path) -> str:
    """youtube_id, or youtube_id_START_END with six digits each where the times are told."""
    if not row.get("time_start") or not row.get("time_end"):
        return row["youtube_id"]
    try:
        start, end = int(float(row["time_start"])), int(float(row["time_end"]))
    except ValueError as error:
        raise InvalidInput(f"{file.name}: times must be seconds, got {row}") from error
    return f"{row['youtube_id']}_{start:06d}_{end:06d}"


def _plain_lines(file: Path) -> list[tuple[str, str]]:
    """PATH,LABEL or PATH LABEL in each line."""
    found = []
    with _opened(file) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                match = re.fullmatch(r"(.+\.\w+)[,;\t ](.+)", line.strip())
                if match is None:
                    raise InvalidInput(f"{file.name}, line {number}: expected a video and its label")
                found.append((match[1], match[2].strip()))
    return found


def _msrvtt(file: Path, split: str) -> list[tuple[str, str]]:
    try:
        content = json.loads(file.read_text("utf-8"))
        names = SPLITS.get(split, (split,))
        wanted = {video["video_id"] for video in content["videos"] if video.get("split", split) in names}
        return [
            (one["video_id"], one["caption"]) for one in content["sentences"] if one["video_id"] in wanted
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{file.name} cannot be read as MSR-VTT's JSON: {error!r}") from error


def _found(
    told: Iterable[tuple[str, str]], root: Path, file: Path, skip_missing: bool
) -> list[tuple[Path, str]]:
    """(path, what is told of it) of each video that lies below the root, by name, with suffix or not."""
    if not root.is_dir():
        raise InvalidInput(f"{root} is not a folder of videos")
    every = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    places = {path.stem: path for path in every} | {path.name: path for path in every}
    there, missing = [], []
    for video, what in told:
        path = root / video if (root / video).is_file() else places.get(Path(video).name)
        if path is None:
            missing.append(video)
        else:
            there.append((path, what))
    if missing and (not skip_missing or not there):
        raise InvalidInput(
            f"{len(missing)} of the {len(missing) + len(there)} videos of {file.name} are not below {root}: "
            f"{some(missing)}"
        )
    return there


def _rows(file: Path) -> list[dict[str, Any]]:
    with _opened(file) as lines:
        return list(csv.DictReader(lines))


def _opened(file: Path) -> Any:
    try:
        return file.open(encoding="utf-8", newline="")
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error


def _of(row: Row, file: Path, *names: str) -> str:
    for name in names:
        if row.get(name):
            return row[name]
    raise InvalidInput(f"{file.name} has no column {' or '.join(names)}; it has {', '.join(map(str, row))}")
