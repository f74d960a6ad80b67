"""Repeated texts are answered from memory, within a bound, and with the very same vectors."""

from pathlib import Path
from typing import Any

import numpy as np
from polylens.service.cache import OVERHEAD, TextCache
from polylens.service.records import Embedding


def embedding(value: float) -> Embedding:
    return Embedding(np.full(16, value, np.float32), value > 1)


def test_what_was_asked_for_lately_stays_and_the_bound_holds() -> None:
    cache = TextCache(3 * (OVERHEAD + 64 + 1), "f")
    for text in "abc":
        cache.put(text, embedding(1))
    assert cache.get("a") is not None
    cache.put("d", embedding(2))
    assert [cache.get(text) is not None for text in "abcd"] == [True, False, True, True]
    assert len(cache) == 3 and cache.bytes <= 3 * (OVERHEAD + 65)
    assert (cache.hits, cache.misses) == (4, 1)
    cache.put("x" * 5000, embedding(1))
    assert cache.get("x" * 5000) is None


def test_a_row_is_kept_without_its_batch_and_cannot_be_changed() -> None:
    batch_ND = np.ones((32, 16), np.float32)
    cache = TextCache(1 << 20, "f")
    cache.put("a", Embedding(batch_ND[3]))
    batch_ND[:] = 0
    kept = cache.get("a")
    assert kept is not None and kept.vector_D.base is None and not kept.vector_D.flags.writeable
    assert kept.vector_D.sum() == 16


async def test_a_server_embeds_a_text_once(serve: Any, tmp_path: Path) -> None:
    async with serve(tmp_path) as service:
        first = await service.client.embed_texts(["a red cat", "new"])
        service.encoder.seen.clear()
        again = await service.client.embed_texts(["a red cat", "b", "new"])
        assert np.array_equal(again[[0, 2]], first)
        assert np.array_equal(again[1], service.encoder.text_vector("b"))
        assert service.encoder.seen == [["b"]]
        assert (await service.client.embed_texts(["word " * 9, "word " * 9])).shape == (2, 16)


async def test_control_without_a_cache_it_is_embedded_again(serve: Any, tmp_path: Path) -> None:
    async with serve(tmp_path, cache_mb=0) as service:
        for _ in range(2):
            await service.client.embed_texts(["a"])
        assert [entry for entry in service.encoder.seen if isinstance(entry, list)].count(["a"]) == 2


async def test_errors_of_a_request_keep_their_places(serve: Any, tmp_path: Path) -> None:
    async with serve(tmp_path) as service:
        await service.engine.embed_texts(["a", "b"])
        found = await service.engine.embed_texts(["a", "", "c", "poison", "b"])
        assert sorted(found.errors) == [1, 3]
        assert [one is None for one in found.embeddings] == [False, True, False, True, False]
