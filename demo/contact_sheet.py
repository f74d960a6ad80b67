"""The contact sheet: a card for each language, a row for each question, a column for each hit.

The sheet is an SVG document that resvg draws, since it shapes every script. A text that no font at hand can
write is shown by its English meaning alone, and the sheet says so.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from PIL import Image

from .answers import Answer, Hit
from .lettering import FAMILIES, INK, drawable, font_options, rasterise, written_text

# Pixels.
MARGIN, GAP, PADDING = 48, 24, 22
HEADER, FOOTER, CARD_HEADER = 132, 76, 62
THUMB, CELL, ROW, QUESTION = 68, 88, 108, 208
CARDS_ACROSS = 4
NAME_LENGTH = 14  # characters of a name that fit under a picture
SOFT, LINE, PAPER, GREEN = "#8b867c", "#e9e5dc", "#f7f5f0", "#2f9e5b"
BOLD, MIDDLE, END = 'font-weight="bold"', 'text-anchor="middle"', 'text-anchor="end"'


def contact_sheet(
    answers: Sequence[Answer],
    files: Mapping[str, Path],
    *,
    heading: str,
    footing: str,
    fonts: Path | None = None,
) -> bytes:
    """The PNG file; `files` gives the picture of each hit by id, `fonts` a folder of further fonts."""
    options = font_options(fonts)
    texts = {answer.query.text for answer in answers} | {a.query.language.own_name for a in answers}
    written = drawable(texts, options)
    cards = [list(card) for _, card in groupby(answers, key=lambda answer: answer.query.language)]
    columns = max(1, min(CARDS_ACROSS, len(cards)))
    hits = max((len(answer.hits) for answer in answers), default=0)
    wide = 2 * PADDING + QUESTION + hits * CELL
    tall = CARD_HEADER + max((len(card) for card in cards), default=0) * ROW + PADDING // 2
    rows = -(-len(cards) // columns)
    width = 2 * MARGIN + columns * (wide + GAP) - GAP
    height = HEADER + rows * (tall + GAP) + FOOTER
    frame = f'width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {frame} font-family="{FAMILIES}">',
        f'<rect {frame} fill="{PAPER}"/>',
        _pictures({hit.id for answer in answers for hit in answer.hits}, files),
        _header(heading, answers, width),
    ]
    for place, card in enumerate(cards):
        down, across = divmod(place, columns)
        x, y = MARGIN + across * (wide + GAP), HEADER + down * (tall + GAP)
        parts.append(f'<g transform="translate({x} {y})">{_card(card, wide, tall, written)}</g>')
    unwritten = any(answer.query.text not in written for answer in answers)
    parts.append(_footer(footing, unwritten, height))
    return rasterise("".join(parts) + "</svg>", options)


def _pictures(ids: set[str], files: Mapping[str, Path]) -> str:
    """Each picture once, at its final size, to be drawn by <use>."""
    images = []
    for identity in sorted(ids & set(files)):
        buffer = io.BytesIO()
        with Image.open(files[identity]) as picture:
            picture.convert("RGB").resize((THUMB, THUMB), Image.Resampling.LANCZOS).save(buffer, "PNG")
        data = base64.b64encode(buffer.getvalue()).decode()
        images.append(
            f'<image id="{identity}" width="{THUMB}" height="{THUMB}" href="data:image/png;base64,{data}"/>'
        )
    return f"<defs>{''.join(images)}</defs>"


def _header(heading: str, answers: Sequence[Answer], width: int) -> str:
    found = sum(answer.found for answer in answers)
    score = f"{found} of {len(answers)} found"
    return (
        written_text(MARGIN, 70, "polylens", 44, extra=BOLD)
        + written_text(MARGIN, 104, heading, 20, fill=SOFT)
        + written_text(width - MARGIN, 70, score, 30, fill=GREEN, extra=f"{BOLD} {END}")
        + written_text(width - MARGIN, 104, "green frame: a drawing that was meant", 20, fill=SOFT, extra=END)
    )


def _card(card: Sequence[Answer], wide: int, tall: int, written: set[str]) -> str:
    language = card[0].query.language
    found = sum(answer.found for answer in card)
    own = language.own_name if language.own_name in written and language.own_name != language.name else ""
    share = {"fill": GREEN if found == len(card) else SOFT, "extra": END}
    rows = "".join(
        f'<g transform="translate(0 {CARD_HEADER + place * ROW})">{_row(answer, wide, written)}</g>'
        for place, answer in enumerate(card)
    )
    return (
        f'<rect width="{wide}" height="{tall}" rx="16" fill="white" stroke="{LINE}"/>'
        + written_text(PADDING, 40, language.name, 22, extra=BOLD)
        + written_text(PADDING + QUESTION + (CELL - THUMB) / 2, 40, own, 20, fill=SOFT)
        + written_text(wide - PADDING, 40, f"{found} / {len(card)}", 18, **share)
        + rows
    )


def _row(answer: Answer, wide: int, written: set[str]) -> str:
    query = answer.query
    line = f'<path d="M{PADDING} 0H{wide - PADDING}" stroke="{LINE}"/>'
    if query.text not in written:
        words = written_text(PADDING, 52, query.meaning, 17, fill=SOFT, extra='font-style="italic"')
    elif query.text == query.meaning:
        words = written_text(PADDING, 52, query.text, 19)
    else:
        words = written_text(PADDING, 42, query.text, 19) + written_text(
            PADDING, 66, query.meaning, 14, fill=SOFT
        )
    hits = "".join(
        f'<g transform="translate({PADDING + QUESTION + place * CELL} 0)">'
        f"{_hit(hit, hit.id in query.right)}</g>"
        for place, hit in enumerate(answer.hits)
    )
    return line + words + hits


def _hit(hit: Hit, right: bool) -> str:
    left = (CELL - THUMB) / 2
    frame = f'stroke="{GREEN}" stroke-width="3"' if right else f'stroke="{LINE}"'
    name = hit.name if len(hit.name) <= NAME_LENGTH else hit.name[: NAME_LENGTH - 1].rstrip() + "…"
    return (
        f'<use href="#{hit.id}" x="{left}" y="7"/>'
        f'<rect x="{left}" y="7" width="{THUMB}" height="{THUMB}" rx="8" fill="none" {frame}/>'
        + written_text(CELL / 2, 88, f"{hit.score:.2f}", 11.5, fill=GREEN if right else INK, extra=MIDDLE)
        + written_text(CELL / 2, 101, name, 10, fill=SOFT, extra=MIDDLE)
    )


def _footer(footing: str, unwritten: bool, height: int) -> str:
    note = "Questions in grey italics: no font here can write them, so their English meaning stands instead. "
    return written_text(MARGIN, height - 36, (note if unwritten else "") + footing, 17, fill=SOFT)
