"""What came back for the demo's questions, and the two ways it is written down: as JSON and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from .queries import Query

SHOWN_IN_TABLE = 3
RIGHT = "green"


@dataclass(frozen=True)
class Hit:
    """One drawing found: its key, its cosine with the query in [-1, 1], its English name, its emoji."""

    id: str
    score: float
    name: str
    emoji: str


@dataclass(frozen=True)
class Answer:
    """The hits of one question, best first, and the milliseconds that the whole call took."""

    query: Query
    hits: tuple[Hit, ...]
    milliseconds: float

    @property
    def found(self) -> bool:
        """Whether a right drawing is among the hits."""
        return any(hit.id in self.query.right for hit in self.hits)


def report(answers: Sequence[Answer], *, images: int, dim: int) -> dict[str, Any]:
    """The content of demo.json."""
    return {
        "queries": [
            {
                "language": answer.query.language.tag,
                "text": answer.query.text,
                "hits": [{"id": hit.id, "score": hit.score, "name": hit.name} for hit in answer.hits],
            }
            for answer in answers
        ],
        "images": images,
        "dim": dim,
    }


def table(answers: Sequence[Answer]) -> Table:
    """One row a question, a rule after each language; right drawings are green."""
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("language", "query", "meaning", "top hits"):
        drawn.add_column(title, no_wrap=True)
    drawn.add_column("ms", justify="right")
    for place, answer in enumerate(answers):
        language = answer.query.language
        first = place == 0 or answers[place - 1].query.language != language
        last = place + 1 == len(answers) or answers[place + 1].query.language != language
        drawn.add_row(
            Text(language.name if first else "", style="bold"),
            answer.query.text,
            Text(answer.query.meaning, style="dim"),
            _top_hits(answer),
            f"{answer.milliseconds:.0f}",
            end_section=last,
        )
    return drawn


def _top_hits(answer: Answer) -> Text:
    words = [
        Text(f"{hit.emoji} {hit.name}", style=RIGHT if hit.id in answer.query.right else "")
        for hit in answer.hits[:SHOWN_IN_TABLE]
    ]
    return Text(" · ", style="dim").join(words)
