"""The fingerprint of an encoder: what must be equal for vectors of two encoders to be comparable."""

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor


def fingerprint(weights: Mapping[str, Tensor], spec: Mapping[str, Any]) -> str:
    """64 hexadecimal digits: a SHA-256 of all weights and of every other choice that changes a vector.

    The definition, which stored collections rely on: the SHA-256 of the JSON text (sorted keys, no spaces) of
    `{"spec": spec, "weights": {name: [dtype, shape, SHA-256 of the bytes]}}`. Weights are taken as they are
    stored: device and precision of a run do not matter, vectors differ by rounding only.
    """
    # One thread per core: hashing releases the interpreter, and the largest models have 28 GB.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        described = dict(zip(weights, pool.map(lambda name: _describe(weights[name]), weights), strict=True))
    text = json.dumps({"spec": spec, "weights": described}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _describe(tensor: Tensor) -> list[Any]:
    plain = tensor.detach().cpu().contiguous()
    content = plain.reshape(-1).view(torch.uint8).numpy().data
    return [str(plain.dtype), list(plain.shape), hashlib.sha256(content).hexdigest()]
