"""Renders the drawings, collects the texts and trains the vocabulary that `mini` learns from.

usage: python recipes/mini/prepare.py PACKAGES OUT      (PACKAGES: filled by fetch.sh)
writes OUT/images.parquet (image: PNG bytes, group, style), OUT/texts.parquet (group, text, language),
OUT/held_out.json (concepts that appear in neither) and OUT/tokenizer.model.
"""

import argparse
import json
import random
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import resvg_py
import sentencepiece
from rich.progress import track
from sources import (
    INKED,
    LANGUAGES,
    Drawing,
    annotations,
    drawings,
    inked,
    is_toned,
    mirrored,
    package_folder,
    recoloured,
    slugs_to_groups,
)

SIZE = 96  # pixels a side of the rendered drawings
HELD_OUT = 150
VOCABULARY = 14_000
TONED_STYLES = 1
SEED = 20_261

# How people ask for a picture of something, with articles, measure words, pieces of it: names and the first
# words are also taught inside some of these. Grammar may suffer ("eine Hund"), as it does where people type.
PHRASES = {
    "en": [
        "a {}",
        "an {}",
        "the {}",
        "a picture of a {}",
        "a drawing of {}",
        "{} emoji",
        "a piece of {}",
        "a slice of {}",
    ],
    "zh": ["一个{}", "一只{}", "一条{}", "一块{}", "一辆{}", "一把{}", "一枚{}", "{}的图片", "{}表情"],
    "es": ["un {}", "una {}", "una imagen de {}", "un trozo de {}"],
    "ar": ["صورة {}", "قطعة {}", "شريحة {}"],
    "hi": ["एक {}", "{} की तस्वीर", "{} का टुकड़ा"],
    "sw": ["picha ya {}", "kipande cha {}"],
    "fr": ["un {}", "une {}", "une image de {}", "une part de {}"],
    "de": ["ein {}", "eine {}", "ein Bild von {}", "ein Stück {}"],
    "ja": ["{}の絵", "{}の写真", "{}一切れ"],
    "ko": ["{} 그림", "{} 한 조각"],
    "ru": ["картинка {}", "рисунок: {}", "кусок {}"],
    "pt": ["um {}", "uma {}", "uma imagem de {}", "uma fatia de {}"],
    "it": ["un {}", "una {}", "un'immagine di {}", "una fetta di {}"],
    "tr": ["bir {}", "{} resmi", "bir dilim {}"],
    "id": ["gambar {}", "seekor {}", "sebuah {}", "sepotong {}"],
    "vi": ["hình {}", "con {}", "cái {}", "một miếng {}"],
    "th": ["รูป{}", "{}หนึ่งชิ้น"],
    "bn": ["একটি {}", "এক টুকরো {}"],
    "fa": ["یک {}", "تصویر {}", "یک برش {}"],
    "uk": ["малюнок {}", "шматок {}"],
    "el": ["ένα {}", "μια {}", "ένας {}", "ένα κομμάτι {}"],
    "nl": ["een {}", "een stuk {}"],
    "pl": ["obrazek {}", "kawałek {}"],
    "ur": ["ایک {}", "{} کا ٹکڑا"],
    "ta": ["ஒரு {}", "ஒரு துண்டு {}"],
}


def concept(group: str) -> str:
    """The group without skin tone, gender sign and zero-width joiners at the end.

    What two variants have in common.
    """
    points = [p for p in group.split("-") if not is_toned(p)]
    while len(points) > 1 and points[-1] in {"200d", "2640", "2642"}:
        points.pop()
    return "-".join(points)


def choose_held_out(packages: Path, drawn: set[str]) -> set[str]:
    """150 concepts drawn at random from those with a drawing of their own.

    No people (their variants overlap), no flags.
    """
    listed = json.loads((package_folder(packages, "emoji-datasource-google") / "emoji.json").read_text())
    allowed = sorted(
        group
        for entry in listed
        if entry["category"] not in {"People & Body", "Flags", "Component"}
        and (group := entry["unified"].lower().replace("-fe0f", "")) in drawn
        and "200d" not in group
        and "20e3" not in group
    )
    return set(random.Random(SEED).sample(allowed, HELD_OUT))


def thin(every: list[Drawing], held_out: set[str]) -> list[Drawing]:
    """The drawings to learn from: nothing held out, and of each skin-tone variant no more than TONED_STYLES
    styles.

    The variants are as many as all other emoji together and differ by a shade; they must not fill half of
    each batch.
    """
    toned: dict[str, list[Drawing]] = {}
    kept = []
    for drawing in every:
        if concept(drawing.group) in held_out:
            continue
        if is_toned(drawing.group):
            toned.setdefault(drawing.group, []).append(drawing)
        else:
            kept.append(drawing)
    random_ = random.Random(SEED)
    return kept + [
        d for group in toned.values() for d in random_.sample(group, min(TONED_STYLES, len(group)))
    ]


def facing_either_way(packages: Path, english: dict[str, tuple[str, list[str]]]) -> set[str]:
    """Groups that a mirror leaves what they are: things, creatures, but no signs, flags, lefts or rights."""
    listed = json.loads((package_folder(packages, "emoji-datasource-google") / "emoji.json").read_text())
    groups = {
        entry["unified"].lower().replace("-fe0f", "")
        for entry in listed
        if entry["category"] not in {"Symbols", "Flags", "Component"}
    }
    return {g for g in groups & set(english) if not re.search(r"\b(left|right)", english[g][0])}


def redrawn(kept: list[Drawing], mirrors: set[str]) -> Iterator[Drawing]:
    """Further views of the drawings: in a mirror, and in other colours with contours of another width."""
    random_ = random.Random(SEED)
    for drawing in kept:
        if is_toned(drawing.group):
            continue
        turns = drawing.group in mirrors
        if turns and not drawing.style.endswith("-inked"):
            yield Drawing(drawing.group, drawing.style + "-mirrored", mirrored(drawing.svg))
        if drawing.style in INKED:
            svg = mirrored(drawing.svg) if turns and random_.random() < 0.5 else drawing.svg
            svg = inked(recoloured(svg, random_), random_.uniform(1.5, 4.5))
            yield Drawing(drawing.group, drawing.style + "-redrawn", svg)


def texts_of(
    group: str, name: str, keywords: list[str], phrases: list[str], random_: random.Random
) -> Iterator[tuple[str, bool]]:
    """Each text, and whether it is the name.

    The short name, half of the times inside a phrase, each keyword, and keywords written together, as a
    person would type them. A skin-tone variant has its name alone: its keywords are those of the plain
    drawing, and would hide the difference.
    """
    if is_toned(group):
        yield name, True
        return
    names = [text for phrase in phrases for text in (name, phrase.format(name))] or [name]
    if ": " in name:  # "flag: Kenya", "keycap: 7": people ask for Kenya
        keywords = [*keywords, name.split(": ", 1)[1]]
    words = [w for w in dict.fromkeys(keywords) if w != name]
    together = [
        " ".join(random_.sample(words, min(len(words), random_.choice((2, 3)))))
        for _ in range(2 if len(words) > 1 else 0)
    ]
    asked = [random_.choice(phrases).format(word) for word in words[:2]] if phrases else []
    yield from ((text, True) for text in names)
    yield from ((text, False) for text in [*words, *together, *asked])


def without_others_names(named: dict[str, tuple[str, list[str]]]) -> dict[str, tuple[str, list[str]]]:
    """One language's texts, where a keyword that is the name of another emoji is left to that one.

    CLDR has "rocket" among the keywords of three astronauts; who asks for a rocket wants the rocket. Of names
    such as "rocket, vehicle", which Hindi has, the first part counts.
    """
    own = {g: {name.casefold(), name.split(",")[0].casefold()} for g, (name, _) in named.items()}
    names = set().union(*own.values())

    def free(group: str, word: str) -> bool:
        return word.casefold() not in names or word.casefold() in own[group]

    return {g: (name, [word for word in words if free(g, word)]) for g, (name, words) in named.items()}


def add_english_aliases(
    english: dict[str, tuple[str, list[str]]], slugs: dict[str, str]
) -> dict[str, tuple[str, list[str]]]:
    """English names with the vendors' own names ("smiling face with open mouth") as further keywords."""
    more: dict[str, list[str]] = {}
    for key, group in slugs.items():
        if "-" in key and not key.startswith("flag-for-flag-") and not is_toned(group):
            more.setdefault(group, []).append(key.replace("-", " "))
    return {group: (name, [*words, *more.get(group, [])]) for group, (name, words) in english.items()}


def render(drawing: Drawing) -> bytes:
    return bytes(
        resvg_py.svg_to_bytes(svg_string=drawing.svg, width=SIZE, height=SIZE, skip_system_fonts=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    packages, out = arguments.packages, arguments.out
    out.mkdir(parents=True, exist_ok=True)

    named = {language: annotations(packages, language) for language in LANGUAGES}
    slugs = slugs_to_groups(packages, named["en"])
    every = [d for d in drawings(packages, slugs) if d.group in named["en"]]
    named["en"] = add_english_aliases(named["en"], slugs)
    held_out = choose_held_out(packages, {d.group for d in every})
    kept = thin(every, held_out)
    kept += list(redrawn(kept, facing_either_way(packages, named["en"])))
    groups = {d.group for d in kept}
    (out / "held_out.json").write_text(json.dumps(sorted(held_out), indent=0) + "\n")

    random_ = random.Random(SEED)
    taught = {
        language: without_others_names({g: texts for g, texts in named[language].items() if g in groups})
        for language in LANGUAGES
    }
    rows = [
        (group, text, language, is_name)
        for language in LANGUAGES
        for group, (name, keywords) in taught[language].items()
        for text, is_name in texts_of(group, name, keywords, PHRASES.get(language, []), random_)
    ]
    columns = list(zip(*rows, strict=True))
    pq.write_table(
        pa.table({k: list(v) for k, v in zip(("group", "text", "language", "name"), columns, strict=True)}),
        out / "texts.parquet",
    )
    print(
        f"{len(groups)} groups, {len(kept)} drawings, {len(rows)} texts in {len(LANGUAGES)} languages, "
        f"{len(held_out)} concepts held out"
    )

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sorted({text for _, text, _, _ in rows})),
        model_prefix=str(out / "tokenizer"),
        vocab_size=VOCABULARY,
        model_type="bpe",
        character_coverage=0.9995,
        byte_fallback=True,
        normalization_rule_name="nmt_nfkc_cf",  # folds case: "Cat", "CAT" and "cat" are one word
        user_defined_symbols=["summarize:"],
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        minloglevel=1,
    )
    with ProcessPoolExecutor() as pool:
        pngs = list(track(pool.map(render, kept, chunksize=32), total=len(kept), description="rendering"))
    table = pa.table({"image": pngs, "group": [d.group for d in kept], "style": [d.style for d in kept]})
    pq.write_table(table, out / "images.parquet")


if __name__ == "__main__":
    main()
