"""Which texts the fonts at hand can draw.

resvg shapes every script and runs right to left, with whatever fonts it finds; it draws an empty box for a
character that none of them has. No fonts come with polylens: the system's are used, matplotlib's where it is
installed, the user's own folder, and at the last the Latin letters that Pillow carries.
"""

import io
import unicodedata
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from PIL import Image, ImageChops, ImageFont

from ..errors import InvalidInput, require
from ..whole import write_whole
from .cache import cache_folder

FAMILIES = "Noto Sans, Inter, Segoe UI, Helvetica Neue, DejaVu Sans, Arial, Liberation Sans, Aileron"
INK = "#1f1e1b"
CELL, COLUMNS = 32, 32  # pixels and cells of the probe, a picture of one character a cell
NO_CHARACTER = "\U0010ffff"  # for ever unassigned, so drawn as a missing character


def font_options(folder: Path | None = None) -> dict[str, list[str]]:
    """resvg's arguments that add the fonts of `folder`, of matplotlib and of Pillow to the system's."""
    if folder is not None and not folder.is_dir():
        raise InvalidInput(f"{folder} is not a folder of fonts")
    folders = [folder, _matplotlib_fonts()]
    file = _pillow_font()
    return {
        "font_dirs": [str(found) for found in folders if found],
        "font_files": [str(file)] if file else [],
    }


def drawable(texts: Iterable[str], options: dict[str, list[str]]) -> set[str]:
    """Those texts of which every character has a glyph in some font."""
    texts = set(texts)
    missing = _missing({character for text in texts for character in text}, options)
    return {text for text in texts if not missing & set(text)}


def written_text(x: float, y: float, text: str, size: float, *, fill: str = INK, extra: str = "") -> str:
    """An SVG element that writes the text; `extra` are further attributes."""
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}" {extra}>{escape(text)}</text>'


def rasterise(svg: str, options: dict[str, list[str]]) -> bytes:
    """The PNG file of an SVG document."""
    resvg: Any = require("resvg_py", "demo")
    return bytes(resvg.svg_to_bytes(svg_string=svg, background="white", **options))


def _missing(characters: set[str], options: dict[str, list[str]]) -> set[str]:
    # Marks and joiners have no shape of their own; a font with a script's letters has its marks.
    alone = sorted(c for c in characters if unicodedata.category(c)[0] not in "MZC")
    rows = -(-(len(alone) + 1) // COLUMNS)
    cells = "".join(_cell(place, character) for place, character in enumerate([*alone, NO_CHARACTER]))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{COLUMNS * CELL}" height="{rows * CELL}" '
        f'font-family="{FAMILIES}" font-size="18">{cells}</svg>'
    )
    probe = Image.open(io.BytesIO(rasterise(svg, options))).convert("L")
    nothing = _crop(probe, len(alone))
    return {c for place, c in enumerate(alone) if _same(_crop(probe, place), nothing)}


def _cell(place: int, character: str) -> str:
    row, column = divmod(place, COLUMNS)
    return f'<text x="{column * CELL + 6}" y="{row * CELL + 22}">{escape(character)}</text>'


def _crop(probe: Image.Image, place: int) -> Image.Image:
    row, column = divmod(place, COLUMNS)
    return probe.crop((column * CELL, row * CELL, (column + 1) * CELL, (row + 1) * CELL))


def _same(one: Image.Image, other: Image.Image) -> bool:
    return ImageChops.difference(one, other).getbbox() is None


def _matplotlib_fonts() -> Path | None:
    found = find_spec("matplotlib")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
    return folder if folder.is_dir() else None


def _pillow_font() -> Path | None:
    content = getattr(ImageFont.load_default(size=16), "font_bytes", None)
    if not content:  # a Pillow built without FreeType
        return None
    file = cache_folder() / "fonts" / "pillow-default.ttf"
    if not file.exists() or file.read_bytes() != content:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda path: path.write_bytes(content))
    return file
