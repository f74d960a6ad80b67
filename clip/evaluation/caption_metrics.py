"""How like people's captions a model's are: BLEU, METEOR, ROUGE-L, CIDEr and SPICE of pycocoevalcap.

BLEU, ROUGE-L and CIDEr are Python, but the words that they count come from a tokenizer in Java, as METEOR and
SPICE do. Without Java a plain tokenizer stands in, METEOR and SPICE are left out, and the result says so.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import InvalidInput, require

# The punctuation that pycocoevalcap's tokenizer removes is left out; a dash within a word stays.
WORD = re.compile(r"\w+(?:-\w+)*|'\w+|n't")
SHORTENED = re.compile(r"\b(\w+)('(?:s|m|d|ll|re|ve))\b|\b(\w+?)(n't)\b")

Captions = dict[int, list[str]]


def caption_metrics(
    captions: Sequence[str], references: Sequence[Sequence[str]], *, java: bool | None = None
) -> tuple[dict[str, float], dict[str, str]]:
    """The metrics in [0, 1] (CIDEr to 10), and of those that could not be computed the reason.

    Names as in clip_benchmark; "tokenizer" among the reasons tells that the figures are near the published
    ones, not of them.
    """
    if not captions or len(captions) != len(references) or not all(references):
        raise InvalidInput(f"got {len(captions)} captions for {len(references)} pictures with references")
    found = shutil.which("java") is not None if java is None else java
    tokenize = ptb_tokenized if found else plainly_tokenized
    made = tokenize({row: [text] for row, text in enumerate(captions)})
    given = tokenize({row: list(texts) for row, texts in enumerate(references)})
    metrics = _python_metrics(made, given)
    reasons = {} if found else {"tokenizer": "Java is not installed: words were told apart in a plainer way"}
    if not found:
        return metrics, reasons | dict.fromkeys(("METEOR", "SPICE"), "needs Java, which is not installed")
    for name, score in (("METEOR", _meteor), ("SPICE", _spice)):
        try:
            metrics[name] = score(made, given)
        except (OSError, RuntimeError, ValueError, IndexError) as error:
            reasons[name] = f"its Java program failed: {error}"
    return metrics, reasons


def _meteor(made: Captions, given: Captions) -> float:
    scorer: Any = require("pycocoevalcap.meteor.meteor", "eval").Meteor()
    score = float(scorer.compute_score(given, made)[0])
    process = scorer.meteor_p
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()
    process.kill()
    process.wait()
    return score


def _spice(made: Captions, given: Captions) -> float:
    """The score; its models, which pycocoevalcap would download unasked, must be there."""
    module: Any = require("pycocoevalcap.spice.spice", "eval")
    if not list((Path(module.__file__).parent / "lib").glob("stanford-corenlp-3.6.0*.jar")):
        fetch = "from pycocoevalcap.spice.get_stanford_models import get_stanford_models as g; g()"
        raise RuntimeError(f'its models are not here; fetch them once: python -c "{fetch}"')
    return float(module.Spice().compute_score(given, made)[0])


def _python_metrics(made: Captions, given: Captions) -> dict[str, float]:
    bleu: Any = require("pycocoevalcap.bleu.bleu", "eval")
    rouge: Any = require("pycocoevalcap.rouge.rouge", "eval")
    cider: Any = require("pycocoevalcap.cider.cider", "eval")
    scores, _ = bleu.Bleu(4).compute_score(given, made, verbose=0)
    metrics = {f"Bleu_{n}": float(score) for n, score in enumerate(scores, 1)}
    metrics["ROUGE_L"] = float(rouge.Rouge().compute_score(given, made)[0])
    metrics["CIDEr"] = float(cider.Cider().compute_score(given, made)[0])
    return metrics


def ptb_tokenized(captions: Captions) -> Captions:
    """The captions as pycocoevalcap tokenizes them, by the Stanford tokenizer in Java."""
    module: Any = require("pycocoevalcap.tokenizer.ptbtokenizer", "eval")
    rows = {row: [{"caption": text} for text in texts] for row, texts in captions.items()}
    tokenized: Captions = module.PTBTokenizer().tokenize(rows)
    return tokenized


def plainly_tokenized(captions: Captions) -> Captions:
    """The captions in lower case, words and shortened words apart, without punctuation."""
    return {row: [" ".join(_words(text)) for text in texts] for row, texts in captions.items()}


def _words(text: str) -> list[str]:
    apart = SHORTENED.sub(lambda m: f"{m[1] or m[3]} {m[2] or m[4]}", text.lower().replace("’", "'"))
    return [word for piece in apart.split() for word in ([piece] if piece == "n't" else WORD.findall(piece))]
