"""A few texts or pictures to a file of numpy, by a model here or by a running server."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..clip.load import load
from ..service.client import connect
from ..service.pictures import find_pictures

__all__ = ["embed_few"]


def embed_few(
    pictures: Sequence[Path], texts: Sequence[str], out: Path, *, server: str | None, model: dict[str, str]
) -> tuple[int, int]:
    """How many vectors of how many numbers are in `out` now; `ids` beside them are texts or paths."""
    found = find_pictures(pictures) if pictures else {}
    if server is None:
        encoder = load(**model)
        vectors_ND = encoder.encode_images(list(found.values())) if found else encoder.encode_texts(texts)
    else:
        with connect(server) as client:
            vectors_ND = client.embed_images(list(found.values())) if found else client.embed_texts(texts)
    np.savez(out, ids=np.array(list(found) if found else texts), vectors=vectors_ND)
    return vectors_ND.shape
