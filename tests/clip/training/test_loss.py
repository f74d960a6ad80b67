"""The losses against loops that say the same thing slowly."""

import math

import pytest
import torch
import torch.nn.functional as F
from polylens.clip.training.loss import contrastive_loss, distance_loss, proxy_loss, view_loss

SCALE = torch.tensor(7.0)


def unit(rows: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed)), dim=1)


def naive(queries: torch.Tensor, keys: torch.Tensor, query_groups: list[int], key_groups: list[int]) -> float:
    losses = []
    for query, group in zip(queries, query_groups, strict=True):
        logits = [7.0 * float(query @ key) for key in keys]
        total = math.log(sum(math.exp(v) for v in logits))
        right = [total - v for v, g in zip(logits, key_groups, strict=True) if g == group]
        if right:
            losses.append(sum(right) / len(right))
    return sum(losses) / len(losses)


def test_one_positive_each_is_the_loss_of_clip() -> None:
    image, text, groups = unit(5, 0), unit(5, 1), torch.arange(5)
    logits = SCALE * image @ text.T
    expected = (F.cross_entropy(logits, groups) + F.cross_entropy(logits.T, groups)) / 2
    torch.testing.assert_close(contrastive_loss(image, text, groups, groups, SCALE), expected)


def test_several_positives_share_the_probability() -> None:
    image, text = unit(4, 2), unit(6, 3)
    image_groups, text_groups = [0, 1, 1, 2], [0, 0, 1, 2, 2, 3]
    found = contrastive_loss(image, text, torch.tensor(image_groups), torch.tensor(text_groups), SCALE)
    expected = (
        naive(image, text, image_groups, text_groups) + naive(text, image, text_groups, image_groups)
    ) / 2
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_treating_one_concept_as_two_is_another_loss() -> None:
    """The control: were positives of one group negatives of each other, the numbers would differ."""
    image, text = unit(4, 2), unit(4, 3)
    together = contrastive_loss(image, text, torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 1, 2]), SCALE)
    apart = contrastive_loss(image, text, torch.arange(4), torch.arange(4), SCALE)
    assert abs(together.item() - apart.item()) > 1e-3


def test_views_of_a_group_attract_and_never_match_themselves() -> None:
    image, groups = unit(5, 4), [0, 0, 1, 1, 2]
    expected = []
    for i in range(4):  # the fifth has no other view
        others = [j for j in range(5) if j != i]
        logits = {j: 7.0 * float(image[i] @ image[j]) for j in others}
        total = math.log(sum(math.exp(v) for v in logits.values()))
        (partner,) = (j for j in others if groups[j] == groups[i])
        expected.append(total - logits[partner])
    assert view_loss(image, torch.tensor(groups), SCALE).item() == pytest.approx(sum(expected) / 4, rel=1e-5)


def test_proxies_are_normalised_classes() -> None:
    vectors, proxies, groups = unit(5, 5), 3 * unit(7, 6), torch.tensor([0, 6, 2, 2, 4])
    expected = F.cross_entropy(SCALE * vectors @ F.normalize(proxies, dim=1).T, groups)
    torch.testing.assert_close(proxy_loss(vectors, proxies, groups, SCALE), expected)
    assert proxy_loss(vectors, proxies, groups, SCALE) != proxy_loss(vectors, proxies, groups.flip(0), SCALE)


def test_distance_is_that_to_the_unit_vector_of_the_own_group() -> None:
    vectors, proxies, groups = unit(3, 7), 3 * unit(4, 8), [3, 0, 3]
    expected = [
        sum((float(v) - float(p) / 3) ** 2 for v, p in zip(vector, proxies[group], strict=True))
        for vector, group in zip(vectors, groups, strict=True)
    ]
    found = distance_loss(vectors, proxies, torch.tensor(groups))
    assert found.item() == pytest.approx(sum(expected) / 3, rel=1e-5)
    assert distance_loss(proxies / 3, proxies, torch.arange(4)).item() == pytest.approx(0, abs=1e-6)
