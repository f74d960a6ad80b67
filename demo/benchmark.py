"""What `polylens evaluate openmoji` measures: which drawings, asked in which languages."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import InvalidInput
from .embedding import Embeds
from .evaluation import Evaluation, evaluate, held_out_keys
from .names import names, packaged_languages
from .openmoji import drawings, pictures
from .queries import LANGUAGES


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The languages (None: all of the demo's that have names), where CLDR lies, and which drawings count."""

    languages: list[str] | None = None
    cldr: Path | None = None
    held_out: bool = False
    variants: bool = False


def measure(encoder: Embeds, benchmark: Benchmark) -> Evaluation:
    """Recall of the encoder in each language; whatever is missing is said before anything is embedded."""
    unseen = held_out_keys() if benchmark.held_out else None
    gallery = drawings(variants=benchmark.variants)
    emojis = [drawing.emoji for drawing in gallery]
    named = {tag: names(tag, emojis, cldr=benchmark.cldr) for tag in _languages(benchmark)}
    return evaluate(encoder, gallery, pictures(gallery), named, held_out=unseen)


def _languages(benchmark: Benchmark) -> list[str]:
    if benchmark.languages is not None:
        tags = [tag.strip() for tag in benchmark.languages]
        if not all(tags):
            raise InvalidInput("expected language tags such as en,zh,sw, got an empty one")
        return list(dict.fromkeys(tags))
    packaged = packaged_languages()
    return [one.tag for one in LANGUAGES if benchmark.cldr is not None or one.tag in packaged]
