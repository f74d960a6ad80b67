"""Greedy and beam search against the original's ids, and against decoding without a cache."""

import json

import pytest
import torch
from polylens.clip.beam_search import Candidate, Item, beam_search
from polylens.clip.generate import Rules, greedy_search
from polylens.clip.internvl_g import InternVLG
from polylens.clip.masks import prompt_mask
from polylens.errors import InvalidInput

CASES = (
    "greedy",
    "beam5",
    "greedy_single",
    "beam5_single",
    "greedy_left_padded",
    "beam5_left_padded",
    "beam3_default_length",
)


@pytest.fixture(scope="module")
def model(golden):
    return InternVLG.from_pretrained(golden / "internvl_tiny/checkpoint")


@pytest.fixture(scope="module")
def cases(golden):
    return json.loads((golden / "internvl_tiny/generate.json").read_text())


@pytest.fixture(scope="module")
def pixels(arrays):
    return arrays("internvl_tiny/inputs.npz")["pixel_values"]


def prompt_of(case):
    return torch.tensor(case["prompt_ids"]), torch.tensor(case["attention_mask"])


def options_of(case):
    return {name: value for name, value in case["kwargs"].items() if name != "do_sample"}


def test_every_case_of_the_original_is_here(cases):
    assert set(cases) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_ids_equal_the_original(model, cases, pixels, name):
    case = cases[name]
    images = pixels[: len(case["sequences"])]
    assert model.generate(images, *prompt_of(case), **options_of(case)).tolist() == case["sequences"]
    other = model.generate(-images, *prompt_of(case), **options_of(case)).tolist()
    assert other != case["sequences"]


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("greedy")])
def test_greedy_logits_equal_the_original(model, cases, pixels, arrays, close_logits, name):
    case = cases[name]
    decoder = model.start_decoding(pixels[: len(case["sequences"])], *prompt_of(case))
    _, logits = greedy_search(decoder, model.rules(0, case["kwargs"]["max_new_tokens"]))
    assert close_logits(logits, arrays("internvl_tiny/generate_logits.npz")[f"{name}_logits"])


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("beam")])
def test_beam_scores_equal_the_original(model, cases, pixels, close_logits, name):
    case, options = cases[name], options_of(cases[name])
    decoder = model.start_decoding(pixels[: len(case["sequences"])], *prompt_of(case))
    rules = model.rules(options.get("min_new_tokens", 0), options.get("max_new_tokens", 19))
    _, scores = beam_search(decoder, rules, options["num_beams"])
    assert close_logits(scores, torch.tensor(case["sequences_scores"]))


@torch.no_grad()
def logits_without_cache(model, pixels, ids, mask, new):
    """The logits after the prompt and the new tokens, everything read at once."""
    ids, mask = torch.cat((ids, new), dim=1), torch.cat((mask, torch.ones_like(new)), dim=1)
    seen = prompt_mask(mask, 8)
    positions = (seen[:, 0, -1].long().cumsum(1) - 1).clamp(min=0)
    image = model.c.vision_model(pixels)
    states = model.c.qllama(
        model.embed_after_queries(ids), mask=seen, positions_BL=positions, image_BNV=image
    )
    return model.lm_head(states[:, -1])


def test_the_cache_changes_nothing(model, cases, pixels, close_logits):
    ids, mask = prompt_of(cases["greedy_left_padded"])
    found, logits = greedy_search(model.start_decoding(pixels, ids, mask), model.rules(0, 6))
    for step in range(6):
        assert close_logits(
            logits_without_cache(model, pixels, ids, mask, found[:, 1 : step + 1]), logits[:, step]
        )
    wrong = logits_without_cache(model, pixels, ids, torch.ones_like(mask), found[:, 1:1])
    assert not close_logits(wrong[1:], logits[1:, 0])


def test_one_beam_of_the_beam_search_is_greedy(model, cases, pixels):
    case = cases["greedy"]
    decoder = model.start_decoding(pixels, *prompt_of(case))
    ids, _ = beam_search(decoder, model.rules(0, 12), num_beams=1)
    assert ids.tolist() == case["sequences"]


def test_an_end_before_the_minimum_is_impossible(model, cases, pixels):
    """Greedy ends the second text after eleven tokens."""
    prompt = prompt_of(cases["greedy"])
    free = model.generate(pixels, *prompt, max_new_tokens=13)
    forced = model.generate(pixels, *prompt, min_new_tokens=13, max_new_tokens=13)
    assert 2 in free[1].tolist()
    assert 2 not in forced[1].tolist()


class Scripted:
    """A decoder whose logits are the same at every step."""

    def __init__(self, logits):
        self.logits_RV = torch.tensor(logits)

    def step(self, tokens_R):
        pass

    def select(self, rows):
        self.logits_RV = self.logits_RV[rows]


def test_searches_stop_when_all_rows_have_ended():
    rules = Rules(bos=1, eos=2, pad=0, min_new=0, max_new=9)
    logits = [[0.0, 0.0, 9.0, 0.0]]
    assert greedy_search(Scripted(logits), rules)[0].tolist() == [[1, 2]]
    ids, scores = beam_search(Scripted(logits), rules, num_beams=2)
    assert ids.tolist() == [[1, 2]]
    assert scores.item() == pytest.approx(torch.tensor(logits).log_softmax(-1)[0, 2].item())


def test_a_longer_hypothesis_must_be_better_per_token():
    """By hand: two ends found at -1 and -2 a token; a running -1.5 a token may still win, -2.5 may not."""
    rules = Rules(bos=1, eos=2, pad=0, min_new=0, max_new=9)
    for running, done in ((-1.5, False), (-2.5, True)):
        item = Item(num_beams=2, length_penalty=1.0)
        ids = torch.tensor([[1, 5], [1, 6]])
        item.finish(-1.0, ids[0], 1)
        item.finish(-4.0, ids[1], 2)
        going = [Candidate(running * 3 - rank, 7, rank % 2) for rank in range(4)]
        assert item.advance(going, ids, 3, rules) == going[:2]
        assert item.done is done


def test_bad_requests_are_refused(model, cases, pixels):
    ids, mask = prompt_of(cases["greedy"])
    model.generate(pixels, ids, mask, max_new_tokens=1)
    for options in ({"max_new_tokens": 0}, {"min_new_tokens": 5, "max_new_tokens": 4}, {"num_beams": 0}):
        with pytest.raises(InvalidInput):
            model.generate(pixels, ids, mask, **options)
    with pytest.raises(InvalidInput, match="left"):
        model.generate(pixels, ids, mask.index_fill(1, torch.tensor([4]), 0))
    with pytest.raises(InvalidInput, match="per image"):
        model.generate(pixels[:2], ids, mask)
