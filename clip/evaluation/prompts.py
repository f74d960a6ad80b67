"""Class names and prompt templates: those of the package clip_benchmark, or the user's own files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import InvalidInput, require

Templates = Sequence[str] | Mapping[str, Sequence[str]]  # for all classes, or of each class its own prompts

# Language tags, and what clip_benchmark calls them.
TAGS = {"en": "en", "zh": "cn", "cn": "cn", "ja": "jp", "jp": "jp", "ar": "ar", "it": "it"}
FALLBACK = "imagenet1k"  # whose templates serve data sets without their own, as in clip_benchmark


def package_tag(language: str) -> str:
    """What clip_benchmark calls the language."""
    return TAGS.get(language, language)


def packaged_classes(dataset: str, language: str) -> tuple[str, ...]:
    """The names of a data set's classes, in the order of its labels."""
    names = _packaged(f"{package_tag(language)}_classnames.json", language)
    if dataset not in names:
        raise InvalidInput(f"clip_benchmark has no class names of {dataset} in {language!r}: give a file")
    return tuple(names[dataset])


def packaged_templates(dataset: str, language: str) -> tuple[str, ...]:
    """The prompt templates of a data set, or ImageNet's where it has none of its own."""
    every = _packaged(f"{package_tag(language)}_zeroshot_classification_templates.json", language)
    return tuple(every.get(dataset, every[FALLBACK]))


def read_classes(path: Path, dataset: str) -> tuple[str, ...]:
    """The class names in a text file (a line each) or in JSON (a list, or lists by data set)."""
    content = _content(path)
    names = content.get(dataset) if isinstance(content, dict) else content
    if not _texts(names):
        raise InvalidInput(f"{path.name}: expected class names, a line each, or JSON with {dataset!r}")
    return tuple(names or ())


def read_templates(path: Path, dataset: str) -> Templates:
    """The templates in a text file (a line each) or in JSON: a list, or lists by data set or by class."""
    content = _content(path)
    if isinstance(content, dict):
        content = content.get(dataset, content.get(FALLBACK, content))
    by_class = isinstance(content, dict) and content and all(map(_texts, content.values()))
    if not by_class and not _texts(content):
        raise InvalidInput(f"{path.name}: expected templates such as 'a photo of a {{c}}.', a line each")
    return content if by_class else tuple(content)


def prompts_of(classes: Sequence[str], templates: Templates) -> list[list[str]]:
    """The texts of each class; {c} or {} in a template stands for its name."""
    if isinstance(templates, Mapping):
        if lacking := [name for name in classes if name not in templates]:
            raise InvalidInput(f"no prompts for the classes {', '.join(lacking[:5])}")
        return [list(templates[name]) for name in classes]
    try:
        return [[template.format(name, c=name) for template in templates] for name in classes]
    except (KeyError, IndexError, ValueError) as error:
        raise InvalidInput(f"a template has braces other than {{c}} or {{}}: {error}") from error


def _packaged(file: str, language: str) -> dict[str, list[str]]:
    package = require("clip_benchmark", "eval")
    path = Path(str(package.__file__)).parent / "datasets" / file
    if not path.is_file():
        raise InvalidInput(f"clip_benchmark has no prompts in {language!r}: it has {', '.join(TAGS)}")
    found: dict[str, list[str]] = json.loads(path.read_text("utf-8"))
    return found


def _content(path: Path) -> Any:
    try:
        text = path.read_text("utf-8")
        return json.loads(text) if path.suffix == ".json" else [s for s in text.splitlines() if s.strip()]
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path.name} cannot be read: {error}") from error


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)
