"""Where data sets of pictures with captions keep them: COCO, Flickr, XTD, NoCaps, tars, and any folder.

What a file holds is told by its content, not by the data set's name: COCO-CN is COCO's JSON, Flickr30K-CN
Flickr's text file.
"""

import csv
import json
import re
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...errors import InvalidInput
from ..images import ImageSource
from .image_text import Captioned
from .items import Listed

FOLDER = "folder"
PICTURE = r"\.(?:jpe?g|png|webp)"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# One line of Flickr's files: NAME.jpg,CAPTION or NAME.jpg#0<tab>CAPTION; the caption may hold commas.
LINE = re.compile(rf"(.+?{PICTURE})(?:#\d+)?\s*[,\t|]\s*(.+)", re.IGNORECASE)
# The caption files of each data set, in the order in which they are looked for; CODE is the language.
FILES = {
    "flickr30k": ("flickr30k_{split}_karpathy.txt",),
    "flickr30k-cn": ("flickr30k_{split}_zh.txt", "flickr30k_{split}_cn.txt", "flickr30k_cn_{split}.txt"),
    "flickr8k": ("flickr8k_{split}_karpathy.txt",),
    "mscoco_captions": ("coco_{split}_karpathy.json",),
    "mscoco_captions-cn": ("coco-cn_{split}.json", "coco_cn_{split}.json"),
    "nocaps": ("nocaps_{split}_4500_captions.json", "nocaps_{split}.json"),
    "multilingual_mscoco_captions": (
        "multilingual_mscoco_captions-{code}.json",
        "xtd10-{code}.json",
        "test_1kcaptions_{code}.txt",
    ),
}
FILES["xtd10"] = FILES["multilingual_mscoco_captions"]
CHINESE = ("zh", "cn")
XTD_NAMES = "test_image_names.txt"
# Folders below the root in which pictures lie, besides the root itself.
PLACES = ("val2014", "train2014", "val2017", "images", "Images", "flickr30k-images", "validation", "val")
FOLDER_FILES = ("captions.json", "captions.jsonl", "captions.csv", "captions.tsv", "captions.txt")


def open_captioned(
    name: str, root: Path, *, language: str = "en", split: str = "test", captions: Path | None = None
) -> Captioned:
    """The data set of that name under `root`; `captions` is its caption file where it lies elsewhere."""
    if not root.is_dir():
        raise InvalidInput(f"{root} is not a folder")
    if captions is not None or name in FILES:
        file = captions or _caption_file(name, root, language, split)
        return _listed(read_captions(file), root, file)
    if name.startswith("wds/"):
        return _tars(sorted((root / split).glob("*.tar")) or sorted(root.glob("*.tar")), root)
    if name != FOLDER:
        raise InvalidInput(
            f"no captions are known of {name!r}: expected {', '.join(FILES)}, wds/NAME, folder"
        )
    return _folder(root)


def read_captions(file: Path) -> dict[str, list[str]]:
    """Picture names and their captions, in the file's order (COCO's by the number of the picture)."""
    try:
        text = file.read_text("utf-8-sig")
        if file.suffix == ".jsonl":
            return _grouped((row["image"], row["caption"]) for row in map(json.loads, text.splitlines()))
        if file.suffix == ".json":
            return _from_json(json.loads(text))
        if file.name.startswith("test_1kcaptions_"):
            names = (file.parent / XTD_NAMES).read_text("utf-8-sig").splitlines()
            return _grouped(zip(names, text.splitlines(), strict=True))
        return _from_lines(text)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{file.name} cannot be read as captions: {error!r}") from error


def _from_json(content: Any) -> dict[str, list[str]]:
    """COCO's images and annotations, clip_benchmark's image_paths and annotations, or a plain mapping."""
    if "image_paths" in content:
        return _grouped(zip(content["image_paths"], content["annotations"], strict=True))
    if "annotations" not in content:
        return {name: [texts] if isinstance(texts, str) else list(texts) for name, texts in content.items()}
    files = {image["id"]: image["file_name"] for image in content["images"]}
    found: dict[int, list[str]] = {id: [] for id in sorted(files)}
    for annotation in content["annotations"]:
        found[annotation["image_id"]].append(annotation["caption"])
    return {files[id]: texts for id, texts in found.items() if texts}


def _from_lines(text: str) -> dict[str, list[str]]:
    """Flickr's lines; the first may be a heading."""
    pairs = []
    for number, line in enumerate(text.splitlines()):
        match = LINE.fullmatch(line.strip())
        if match:
            caption = next(csv.reader([match[2]])) if match[2].startswith('"') else [match[2]]
            pairs.append((match[1], ",".join(caption)))
        elif number and line.strip():
            raise InvalidInput(f"line {number + 1}: expected PICTURE.jpg,CAPTION, got {line.strip()[:60]!r}")
    return _grouped(pairs)


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, caption in pairs:
        found.setdefault(name, []).append(caption.strip())
    return found


def _caption_file(name: str, root: Path, language: str, split: str) -> Path:
    key = f"{name}-cn" if language in CHINESE and f"{name}-cn" in FILES else name
    code = {"ja": "jp", "cn": "zh"}.get(language, language)
    tried = [file.format(split=split, code=code) for file in FILES[key]]
    for file in tried:
        if (root / file).is_file():
            return root / file
    raise InvalidInput(f"{root} holds no captions of {name} in {language!r}: looked for {', '.join(tried)}")


def _listed(captions: dict[str, list[str]], root: Path, file: Path) -> Captioned:
    if not captions:
        raise InvalidInput(f"{file.name} holds no captions")
    return Captioned(Listed([_place(root, name) for name in captions], list(captions.values())))


def _place(root: Path, name: str) -> Path:
    """Where the picture lies: below the root, or in one of the folders that archives unpack into."""
    for place in (root / name, *(root / folder / Path(name).name for folder in PLACES)):
        if place.is_file():
            return place
    raise InvalidInput(f"the picture {name} is not under {root}; looked in it and in {', '.join(PLACES)}")


def _folder(root: Path) -> Captioned:
    """Pictures with a file of all captions, or each with a text file of its own name, a caption a line."""
    for name in FOLDER_FILES:
        if (root / name).is_file():
            return _listed(read_captions(root / name), root, root / name)
    images: list[ImageSource] = []
    captions = []
    for path in sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES):
        own = path.with_suffix(".txt")
        if own.is_file():
            images.append(path)
            captions.append([line.strip() for line in own.read_text("utf-8").splitlines() if line.strip()])
    if not images:
        raise InvalidInput(
            f"{root} has no captions: expected one of {', '.join(FOLDER_FILES)}, or NAME.txt beside NAME.jpg"
        )
    return Captioned(Listed(images, captions))


def _tars(tars: list[Path], root: Path) -> Captioned:
    """webdataset tars: KEY.jpg with KEY.txt, a caption a line; their pictures are held in memory, encoded."""
    images: dict[str, bytes] = {}
    texts: dict[str, list[str]] = {}
    try:
        for path in tars:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    name, _, suffix = member.name.rpartition(".")
                    key = f"{path.name}:{name}"
                    content = tar.extractfile(member) if member.isfile() else None
                    if content is not None and f".{suffix.lower()}" in SUFFIXES:
                        images[key] = content.read()
                    elif content is not None and suffix == "txt":
                        texts[key] = content.read().decode("utf-8").splitlines()
    except (OSError, tarfile.TarError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the tars of {root}: {error}") from error
    if not images or images.keys() != texts.keys():
        raise InvalidInput(
            f"{root}: expected tars with KEY.jpg and KEY.txt, got {len(images)} and {len(texts)}"
        )
    return Captioned(Listed(list(images.values()), [texts[key] for key in images]))
