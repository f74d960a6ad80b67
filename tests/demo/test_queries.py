"""The demo's questions: complete, and answerable from the gallery."""

import unicodedata

from polylens.demo.openmoji import drawings
from polylens.demo.queries import LANGUAGES, TEXTS, THINGS, queries

REQUIRED = "en zh ar sw hi es fr de ja ko ru tr id pt vi th bn fa uk el".split()
SCRIPTS = {
    "ARABIC": "ar fa ur",
    "BENGALI": "bn",
    "CJK": "zh",
    "CYRILLIC": "ru uk",
    "DEVANAGARI": "hi",
    "GREEK": "el",
    "HANGUL": "ko",
    "LATIN": "en sw es fr de tr id pt vi it pl",
    "TAMIL": "ta",
    "THAI": "th",
}


def test_every_language_asks_for_every_thing() -> None:
    asked = queries()
    assert set(REQUIRED) <= {language.tag for language in LANGUAGES}
    assert len({language.tag for language in LANGUAGES}) == len(LANGUAGES) == len(TEXTS)
    assert len(asked) == len(LANGUAGES) * len(THINGS)
    assert len({(query.language, query.text) for query in asked}) == len(asked)
    assert all(
        query.text == query.text.strip() == unicodedata.normalize("NFC", query.text) for query in asked
    )


def test_what_is_asked_for_is_in_the_gallery() -> None:
    keys = {drawing.key for drawing in drawings()}
    for query in queries():
        assert query.right and query.right <= keys, query


def test_texts_are_in_their_language_s_script() -> None:
    script_of = {tag: script for script, tags in SCRIPTS.items() for tag in tags.split()}
    assert {language.tag for language in LANGUAGES} - set(script_of) == {"ja"}  # which mixes three
    for query in queries():
        script = script_of.get(query.language.tag, "")
        assert all(unicodedata.name(c).startswith(script) for c in query.text if c.isalpha()), query
