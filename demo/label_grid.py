"""Pictures in a grid, each with the labels that were found for it; drawn by resvg like the contact sheet."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageOps

from ..clip.evaluation.ranking import LabelScore
from ..clip.images import open_image
from .lettering import FAMILIES, INK, font_options, rasterise, written_text

# Pixels.
THUMB, MARGIN, GAP, LINE_HEIGHT = 180, 24, 16, 22
ACROSS, MOST = 6, 120
SOFT, PAPER, GREEN, PALE = "#8b867c", "#f7f5f0", "#2f9e5b", "#d9efe2"
LONGEST = 22  # characters of a label that fit under a picture


def label_grid(
    files: Mapping[str, Path], found: Mapping[str, Sequence[LabelScore]], *, fonts: Path | None = None
) -> bytes:
    """The PNG file of the first 120 pictures; the bar under a picture is its best label's probability."""
    ids = list(found)[:MOST]
    lines = max((len(found[id]) for id in ids), default=1)
    tall = THUMB + 14 + LINE_HEIGHT * (lines + 1)
    across = min(ACROSS, max(1, len(ids)))
    width = 2 * MARGIN + across * (THUMB + GAP) - GAP
    height = 2 * MARGIN + -(-len(ids) // across) * (tall + GAP) - GAP
    frame = f'width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {frame} font-family="{FAMILIES}" font-size="13">',
        f'<rect {frame} fill="{PAPER}"/>',
    ]
    for place, id in enumerate(ids):
        down, right = divmod(place, across)
        x, y = MARGIN + right * (THUMB + GAP), MARGIN + down * (tall + GAP)
        parts.append(f'<g transform="translate({x} {y})">{_card(id, files[id], found[id])}</g>')
    return rasterise("".join(parts) + "</svg>", font_options(fonts))


def _card(id: str, file: Path, scores: Sequence[LabelScore]) -> str:
    lines = [_picture(file), written_text(0, THUMB + 18, _short(id), 11, fill=SOFT)]
    for row, score in enumerate(scores):
        y = THUMB + 14 + LINE_HEIGHT * (row + 1)
        wide = max(1.0, THUMB * score.probability)
        lines.append(f'<rect y="{y - 8}" width="{wide:.1f}" height="20" rx="4" fill="{PALE}"/>')
        lines.append(written_text(4, y + 6, _short(score.label), 13, fill=INK if row else GREEN))
        share = f"{score.probability:.0%}"
        lines.append(written_text(THUMB - 4, y + 6, share, 12, fill=SOFT, extra='text-anchor="end"'))
    return "".join(lines)


def _picture(file: Path) -> str:
    buffer = io.BytesIO()
    picture = ImageOps.exif_transpose(open_image(file)).convert("RGB")
    ImageOps.pad(picture, (THUMB, THUMB), Image.Resampling.LANCZOS, color="white").save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<image width="{THUMB}" height="{THUMB}" href="data:image/png;base64,{data}"/>'


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"
