"""Answers as JSON, as a table, as a contact sheet."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from polylens.demo import contact_sheet as sheet
from polylens.demo.answers import Answer, Hit, report, table
from polylens.demo.openmoji import Drawing
from polylens.demo.queries import queries
from rich.console import Console

THINGS = {"a cat", "a fish"}
ASKED = [one for one in queries() if one.language.tag in {"en", "zh", "ar"} and one.meaning in THINGS]


@pytest.fixture
def answers(gallery: list[Drawing]) -> list[Answer]:
    """Five hits for each question; the cat is always the first."""
    cat = next(drawing for drawing in gallery if drawing.emoji == "🐈")
    five = [cat, *(drawing for drawing in gallery if drawing is not cat)][:5]
    hits = tuple(Hit(d.key, 0.9 - n / 10, d.name, d.emoji) for n, d in enumerate(five))
    return [Answer(query, hits, 4.2) for query in ASKED]


def test_json_has_exactly_the_documented_shape(answers: list[Answer]) -> None:
    content: dict[str, Any] = json.loads(json.dumps(report(answers, images=12, dim=7)))
    assert set(content) == {"queries", "images", "dim"} and (content["images"], content["dim"]) == (12, 7)
    assert len(content["queries"]) == len(ASKED)
    first = content["queries"][0]
    assert set(first) == {"language", "text", "hits"}
    assert (first["language"], first["text"]) == ("en", "a cat")
    assert first["hits"][0] == {"id": "1f408", "score": 0.9, "name": "cat"}


def test_only_right_drawings_count_as_found(answers: list[Answer]) -> None:
    cats, others = answers[0], answers[1]
    assert cats.query.meaning == "a cat" and cats.found
    assert others.query.meaning == "a fish"
    assert others.found == any(hit.id == "1f41f" for hit in others.hits)
    assert not Answer(cats.query, cats.hits[1:], 1.0).found


def test_table_names_language_meaning_hits_and_time(answers: list[Answer]) -> None:
    console = Console(width=200, file=io.StringIO(), force_terminal=False)
    console.print(table(answers))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("Chinese") == 1 and "一只猫" in text and "🐈 cat" in text and "a fish" in text
    assert text.count("4") >= len(ASKED)


def test_sheet_shows_each_hit_and_says_what_it_cannot_write(
    answers: list[Answer], files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    real = sheet.rasterise
    monkeypatch.setattr(sheet, "rasterise", lambda svg, options: drawn.append(svg) or real(svg, options))
    monkeypatch.setattr(sheet, "drawable", lambda texts, options: {t for t in texts if t.isascii()})
    png = sheet.contact_sheet(answers, files, heading="12 drawings", footing="by <OpenMoji> & friends")
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG" and picture.width > picture.height > 400
    (svg,) = drawn
    assert svg.count("<use ") == 5 * len(ASKED) and svg.count("<image ") == 5
    assert "一只猫" not in svg and "no font here can write them" in svg
    assert "by &lt;OpenMoji&gt; &amp; friends" in svg
    assert f"{sum(answer.found for answer in answers)} of {len(answers)} found" in svg

    monkeypatch.setattr(sheet, "drawable", lambda texts, options: set(texts))  # control
    sheet.contact_sheet(answers, files, heading="", footing="")
    assert "一只猫" in drawn[1] and "no font here" not in drawn[1]


def test_sheet_of_a_hit_without_a_picture(answers: list[Answer], files: dict[str, Path]) -> None:
    stranger = Answer(ASKED[0], (Hit("my/cat.jpg", 0.5, "<my cat>", ""),), 1.0)
    assert sheet.contact_sheet([stranger], files, heading="", footing="").startswith(b"\x89PNG")
