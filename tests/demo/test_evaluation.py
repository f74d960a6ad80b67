"""Recall by name, against cases small enough to count by hand."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from polylens.demo import benchmark
from polylens.demo.benchmark import Benchmark, measure
from polylens.demo.evaluation import Evaluation, Recall, evaluate, held_out_keys, mean, recall
from polylens.demo.evaluation_report import draw_bars, table
from polylens.demo.openmoji import Drawing
from polylens.errors import InvalidInput

Fake = Callable[[Mapping[str, str]], Any]
ENGLISH = {"🐈": "cat", "🍎": "red apple", "🚀": "rocket", "🔑": "key"}


def vectors(encoder: Any, gallery: list[Drawing], files: dict[str, Path]) -> Any:
    return encoder.encode_images([files[drawing.key] for drawing in gallery])


def test_a_model_that_knows_the_names_finds_everything(
    fake: Fake, gallery: list[Drawing], files: Any
) -> None:
    encoder = fake({name: emoji for emoji, name in ENGLISH.items()})
    found = evaluate(encoder, gallery, files, {"en": ENGLISH})
    assert found.images == 12 and found.held_out is None
    assert found.languages == {"en": Recall(4, {1: 1.0, 5: 1.0, 10: 1.0}, {1: 1.0, 5: 1.0})}


def test_drawings_are_named_among_all_names(fake: Fake, gallery: list[Drawing], files: Any) -> None:
    """The cat's and the key's names are swapped: two of four drawings are named wrongly."""
    encoder = fake({"cat": "🔑", "red apple": "🍎", "rocket": "🚀", "key": "🐈"})
    found = recall(encoder, vectors(encoder, gallery, files), gallery, ENGLISH)
    assert found.named == {1: 0.5, 5: 1.0} and found.at[1] == 0.5


def test_one_wrong_word_of_four_costs_a_quarter_at_1(fake: Fake, gallery: list[Drawing], files: Any) -> None:
    encoder = fake({"cat": "🐈", "red apple": "🍎", "rocket": "🚀", "key": "🍕"})
    assert recall(encoder, vectors(encoder, gallery, files), gallery, ENGLISH).at[1] == 0.75


def test_any_drawing_of_the_name_counts_and_a_name_is_asked_once(
    fake: Fake, gallery: list[Drawing], files: Any
) -> None:
    twice = {"🐈": "beast", "🐟": "beast"}
    encoder = fake({"beast": "🐟"})
    found = recall(encoder, vectors(encoder, gallery, files), gallery, twice)
    assert (found.queries, found.at[1]) == (1, 1.0)
    once = recall(encoder, vectors(encoder, gallery, files), gallery, {"🐈": "beast"})
    assert once.at[1] == 0.0  # control: the fish alone was found


def test_held_out_drawings_are_searched_alone(fake: Fake, gallery: list[Drawing], files: Any) -> None:
    # Asked for the cat, the model thinks of a pizza: wrong among all, and the pizza is not held out.
    encoder = fake({"cat": "🍕"})
    alone = frozenset(drawing.key for drawing in gallery if drawing.emoji != "🍕")
    found = evaluate(encoder, gallery, files, {"en": {"🐈": "cat"}}, held_out=alone)
    assert found.held_out is not None and found.held_out_images == 11
    assert found.languages["en"].at[1] == 0.0
    assert found.to_dict()["held_out"]["languages"]["en"]["queries"] == 1
    with pytest.raises(InvalidInput, match="1 held-out concepts"):
        evaluate(encoder, gallery, files, {"en": ENGLISH}, held_out=frozenset(["1f408"]))


def test_names_of_other_emoji_only_are_refused(fake: Fake, gallery: list[Drawing], files: Any) -> None:
    encoder = fake({})
    with pytest.raises(InvalidInput, match="none of the gallery"):
        recall(encoder, vectors(encoder, gallery, files), gallery, {"🦑": "squid"})


def test_the_mean_weighs_languages_alike() -> None:
    assert mean([Recall(1, {1: 0.0, 5: 1.0}), Recall(999, {1: 1.0, 5: 1.0})]) == {1: 0.5, 5: 1.0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "held_out.json is missing"),
        ("[", "is not JSON"),
        ('{"1f40b": 1}', "expected a list of code points"),
        ("[1]", "expected a list of code points"),
        ('["whale"]', "expected code points in hex"),
        ('["ffffffffff"]', "expected code points in hex"),
    ],
)
def test_a_bad_list_of_held_out_concepts_is_explained(
    content: str | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "held_out.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidInput, match=message):
        held_out_keys(file)
    file.write_text('["1F40B", "2602-fe0f"]')  # control
    assert held_out_keys(file) == {"1f40b", "2602"}


EXAMPLE = Evaluation(
    12,
    {"en": Recall(4, {1: 0.5, 5: 0.75, 10: 1.0}), "xx": Recall(4, {1: 0.0, 5: 0.25, 10: 0.5})},
    11,
    {"en": Recall(3, {1: 0.5, 5: 0.5, 10: 1.0}), "xx": Recall(3, {1: 0.0, 5: 0.0, 10: 0.5})},
)


def test_report_in_three_forms(tmp_path: Path) -> None:
    content = json.loads(json.dumps(EXAMPLE.to_dict()))
    assert content["mean"] == {"recall@1": 0.25, "recall@5": 0.5, "recall@10": 0.75}
    assert content["held_out"]["mean"]["recall@10"] == 0.75
    assert content["languages"]["en"] == {"queries": 4, "recall@1": 0.5, "recall@5": 0.75, "recall@10": 1.0}
    drawn = table(EXAMPLE)
    assert [column.header for column in drawn.columns][-1] == "recall@10 of 11 held out"
    assert list(drawn.columns[0].cells) == ["English (en)", "xx (xx)", "mean"]
    assert list(drawn.columns[-1].cells) == ["1.000", "0.500", "0.750"]
    draw_bars(EXAMPLE, tmp_path / "bars.png", model="fake")
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")


def test_measure_takes_the_demo_s_languages(
    fake: Fake, gallery: list[Drawing], files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "drawings", lambda variants: gallery)
    monkeypatch.setattr(benchmark, "pictures", lambda wanted: files)
    found = measure(fake({}), Benchmark())
    assert set(found.languages) == set("en zh ar es fr de ja ko ru tr id pt fa it".split())
    assert set(measure(fake({}), Benchmark(languages=["en", " zh", "en"])).languages) == {"en", "zh"}
    with pytest.raises(InvalidInput, match="expected language tags"):
        measure(fake({}), Benchmark(languages=["en", ""]))
