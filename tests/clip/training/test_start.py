"""What a run starts from and steps with: positions on a plane, the bag of words, Muon."""

import dataclasses
from pathlib import Path

import torch
import torch.nn.functional as F
from polylens.clip.tokenizer import Tokenizer
from polylens.clip.training.bag import bag, start_as_bag
from polylens.clip.training.config import TrainConfig
from polylens.clip.training.data import load_pairs
from polylens.clip.training.learner import Learner, encode_texts, make_optimizers
from polylens.clip.training.muon import Muon, orthogonal
from polylens.clip.training.pooling import ridge
from polylens.clip.training.positions import waves
from polylens.clip.training.proxies import start_proxies
from polylens.clip.training.run import make_model


def learner(files: Path) -> tuple[Learner, TrainConfig]:
    torch.manual_seed(0)
    config = dataclasses.replace(
        TrainConfig.from_toml(files / "train.toml"), proxies=1.0, bag_steps=40, bag_batch_size=32
    )
    return Learner(make_model(files / "config.json"), config, 8).train(), config


def test_the_nearest_position_is_the_neighbour() -> None:
    table = waves(6, 64)
    distance = torch.cdist(table, table).view(6, 6, 6, 6)
    here = distance[2, 2]
    assert here[2, 3] < here[2, 4] < here[2, 5] and here[3, 2] < here[4, 2] < here[5, 2]
    torch.testing.assert_close(here[2, 3], here[3, 2])
    assert table.abs().max() <= 1


def test_positions_are_set_only_in_a_new_model(training_files: Path) -> None:
    model = make_model(training_files / "config.json")
    torch.testing.assert_close(model.vision_model.embeddings.position_embedding[0, 1:].data, waves(2, 32))


def test_the_text_tower_starts_knowing_the_words(training_files: Path) -> None:
    subject, config = learner(training_files)
    pairs = load_pairs(config.pairs, None)
    tokenizer = Tokenizer.from_pretrained(training_files)
    ids = torch.as_tensor(tokenizer(list(pairs.group_names), pad_to_max=False))

    def right() -> tuple[int, int]:
        assert subject.proxies is not None
        with torch.no_grad():
            proxies = F.normalize(subject.proxies, dim=1).T
            by_bag = (bag(subject.model, ids) @ proxies).argmax(1)
            by_tower = (F.normalize(encode_texts(subject.model, ids), dim=1) @ proxies).argmax(1)
        expected = torch.arange(8)
        return int((by_bag == expected).sum()), int((by_tower == expected).sum())

    assert max(right()) < 6  # the control: nothing is known before
    start_as_bag(subject, pairs, tokenizer, config, quiet=True)
    assert right() == (8, 8)


def test_ridge_follows_its_targets_at_length_one() -> None:
    random = torch.Generator().manual_seed(3)
    features = torch.randn(200, 6, generator=random) + 5
    targets = features @ torch.randn(6, 4, generator=random)
    weight, bias = ridge(features, targets)
    found = features @ weight.T + bias
    centred = targets - targets.mean(0)
    assert F.cosine_similarity(found, centred).mean() > 0.99
    torch.testing.assert_close(found.square().sum(1).mean(), torch.tensor(1.0))
    assert F.cosine_similarity(found, centred.flip(0)).mean() < 0.5  # the control


def test_encoding_by_length_keeps_the_order(training_files: Path) -> None:
    subject, _ = learner(training_files)
    tokenizer = Tokenizer.from_pretrained(training_files)
    texts = ["red", "a long yellow thing", "blue", "a green thing", "black black black black black"]
    ids = torch.as_tensor(tokenizer(texts, pad_to_max=False))
    subject.eval()
    torch.testing.assert_close(encode_texts(subject.model, ids, 3), subject.model.encode_text(ids))


def test_orthogonal_has_singular_values_near_one() -> None:
    for shape in ((24, 8), (8, 24), (16, 16)):
        matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
        values = torch.linalg.svdvals(orthogonal(matrix))
        assert values.shape == (min(shape),)
        assert (
            values[:-1].min() > 0.6 and values.max() < 1.25
        )  # the smallest of a square matrix may start near 0


def test_muon_descends_and_decays() -> None:
    target = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    weight = torch.nn.Parameter(torch.zeros(6, 4))
    optimizer = Muon([weight], lr=0.4)
    losses = []
    for step in range(60):
        optimizer.param_groups[0]["lr"] = 0.4 * (1 - step / 60)  # its steps have one length
        loss = (weight - target).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
    idle = torch.nn.Parameter(torch.ones(3, 3))
    idle.grad = torch.zeros(3, 3)
    Muon([idle], lr=0.5, weight_decay=0.1).step()
    torch.testing.assert_close(idle.data, torch.full((3, 3), 0.95))


def test_muon_takes_the_matrices_of_the_vision_layers_alone(training_files: Path) -> None:
    subject, config = learner(training_files)
    assert len(make_optimizers(subject, config)) == 1
    adamw, muon = make_optimizers(subject, dataclasses.replace(config, muon_learning_rate=0.01))
    taken = [p for group in muon.param_groups for p in group["params"]]
    names = {id(p): n for n, p in subject.named_parameters()}
    assert {names[id(p)].rsplit(".", 2)[-2] for p in taken} == {"qkv", "proj", "fc1", "fc2"}
    assert all(names[id(p)].startswith("model.vision_model.encoder.layers") for p in taken)
    rest = [p for group in adamw.param_groups for p in group["params"]]
    assert len(taken) + len(rest) == len(names) and not {id(p) for p in taken} & {id(p) for p in rest}


def test_proxies_of_a_trained_model_start_at_its_names(training_files: Path) -> None:
    subject, config = learner(training_files)
    pairs = load_pairs(config.pairs, None)
    tokenizer = Tokenizer.from_pretrained(training_files)
    ids = torch.as_tensor(tokenizer(list(pairs.group_names), pad_to_max=False))

    def right() -> int:
        assert subject.proxies is not None
        with torch.no_grad():
            vectors = F.normalize(encode_texts(subject.model, ids), dim=1)
            found = (vectors @ F.normalize(subject.proxies, dim=1).T).argmax(1)
        return int((found == torch.arange(8)).sum())

    assert right() < 6  # the control: random proxies
    start_proxies(subject, pairs, tokenizer, config, quiet=True)
    assert right() == 8
