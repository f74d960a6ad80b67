"""What a campaign found."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST = 5  # problems of a kind that are written out; all are counted
KIND = 12  # letters by which kinds are told apart


@dataclass
class Report:
    """How often each thing happened, what was wrong, and figures."""

    campaign: str
    seed: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    figures: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    wrong: int = 0

    def problem(self, text: str) -> None:
        """Something that must not happen did."""
        self.wrong += 1
        if sum(one[:KIND] == text[:KIND] for one in self.problems) < MOST:
            self.problems.append(text)

    def text(self) -> str:
        """A few lines for people."""
        lines = [f"{self.campaign}, seed {self.seed}: {'ok' if not self.wrong else f'{self.wrong} WRONG'}"]
        lines += [f"  {count:>8,}  {what}" for what, count in self.counts.most_common()]
        lines += [f"  {name}: {value}" for name, value in self.figures.items()]
        return "\n".join([*lines, *(f"  ! {problem}" for problem in self.problems)])

    def save(self, file: Path) -> None:
        """Keeps it as JSON."""
        file.write_text(json.dumps(vars(self), indent=1, default=str) + "\n")
