"""Dual encoders in the format of transformers, with the checkpoint's own tokenizer and image processor.

Letters of the shapes: B batch, C colours, H and W pixels, L token positions, D embedding width.
"""

import hashlib
import math
import warnings
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ..backbone.checkpoint import open_weights, read_config, resolve
from ..backbone.device import Placement, pick_device, pick_dtype
from ..backbone.errors import BadCheckpoint, some
from ..backbone.pixels import to_rgb
from ..errors import InvalidInput, require
from .fingerprint import fingerprint
from .foreign import check_options
from .recipe import decoding
from .seen import seen, seen_spec

# By `model_type` of config.json. SigLIP's text tower reads all its positions, padding included, without a
# mask (transformers' page "SigLIP", usage tips); the others are masked.
FAMILIES = ("altclip", "chinese_clip", "clip", "metaclip_2", "siglip", "vision-text-dual-encoder")
PADDED = ("siglip",)
# What no vector depends on.
VOLATILE = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")
TOKENIZER_FILES = ("*token*.json", "*vocab*", "merges.txt", "*.model", "*.spm")


class HuggingFace:
    """A CLIP, SigLIP, Chinese-CLIP, AltCLIP, MetaCLIP 2 or two-tower folder loaded as a `DualEncoder`.

    Pixels are those of the checkpoint's image processor by Pillow, which the models were trained with;
    transformers' default since version 5 resizes tensors, which differs by up to two of 255 grey levels.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        head: str = "C",
        device: Placement = "auto",
        dtype: str | torch.dtype = "auto",
        preprocess: str = "service",
        name: str | None = None,
    ) -> None:
        one_device = check_options("transformers", head=head, preprocess=preprocess, device=device)
        transformers = require("transformers", "hf")
        self.name, self._preprocess = name or f"hf:{source}", preprocess
        self.path = resolve(source, also=("*.txt", "*.spm"))
        self.family = family(self.path)
        if self.family is None:
            raise InvalidInput(f"{source}: model_type in config.json must be one of {', '.join(FAMILIES)}")
        self.device = pick_device(one_device)
        self.dtype = pick_dtype(dtype, self.device)
        self.network, self._tokenizer, self._pixels = _parts(transformers, self.path, self.dtype)
        self.network = self.network.to(self.device).eval()
        self._lock = Lock()  # truncation and padding are state of a tokenizer: threads cannot share it
        self.max_text_tokens = _longest(self.network.config, self._tokenizer)
        self.logit_scale = math.exp(open_weights(self.path)["logit_scale"].item())
        with torch.inference_mode():
            self.dim = self.embed_texts(torch.from_numpy(self.prepare_text("a"))[None]).shape[1]

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights as stored, sizes, preprocessing and the tokenizer's files; see fingerprint.py."""
        config = self.network.config.to_dict()
        spec = {
            "family": "transformers",
            "model": _without(config, VOLATILE),
            "preprocess": _without(self._pixels.to_dict(), ("image_processor_type", "processor_class")),
            "picture": seen_spec(self._preprocess),
            "tokens": self.max_text_tokens,
            "tokenizer": _tokenizer_hash(self.path),
        }
        return fingerprint(open_weights(self.path), spec)

    @property
    def recipe(self) -> str:
        """Decoding alone; see recipe.py."""
        return decoding(self._preprocess)

    def prepare_image(self, image: Image.Image) -> npt.NDArray[np.float32]:
        """pixels_CHW, normalised."""
        ready = to_rgb(seen(image, self._preprocess))
        pixels_CHW = self._pixels(images=ready, return_tensors="np")["pixel_values"][0]
        return np.ascontiguousarray(pixels_CHW, np.float32)

    def prepare_text(self, text: str) -> npt.NDArray[np.int64]:
        """ids_L plus 1, so that the 0 of a batch's padding is no token's id."""
        padding = "max_length" if self.family in PADDED else False
        with self._lock:
            most = self.max_text_tokens
            ids = self._tokenizer(text, truncation=True, max_length=most, padding=padding).input_ids
        return np.array(ids, np.int64) + 1

    def text_truncated(self, text: str) -> bool:
        """Whether the text has more tokens than are read."""
        with self._lock:
            ids = self._tokenizer(text, truncation=False, padding=False, verbose=False).input_ids
        return len(ids) > self.max_text_tokens

    def embed_images(self, pixels_BCHW: Tensor) -> Tensor:
        """vectors_BD, not normalised."""
        vectors_BD: Tensor = self.network.get_image_features(
            pixel_values=pixels_BCHW.to(self.device, self.dtype)
        ).pooler_output
        return vectors_BD

    def embed_texts(self, ids_BL: Tensor) -> Tensor:
        """vectors_BD, not normalised, of ids plus 1 with 0 for padding."""
        shifted_BL = ids_BL.to(self.device)
        present_BL = shifted_BL > 0
        padding = self._tokenizer.pad_token_id or 0
        inputs = {"input_ids": torch.where(present_BL, shifted_BL - 1, padding)}
        if self.family not in PADDED:
            inputs["attention_mask"] = present_BL.long()
        vectors_BD: Tensor = self.network.get_text_features(**inputs).pooler_output
        return vectors_BD


def family(folder: Path) -> str | None:
    """The `model_type` of a folder that this module can load, or None."""
    if not (folder / "config.json").is_file():
        return None
    kind = read_config(folder).get("model_type")
    return kind if kind in FAMILIES else None


def _parts(transformers: Any, folder: Path, dtype: torch.dtype) -> tuple[Any, Any, Any]:
    """Network, tokenizer and image processor of a local folder; no code of the folder is run."""
    try:
        network, report = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, dtype=dtype, output_loading_info=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        pixels = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
    except MemoryError:
        raise
    except Exception as error:  # transformers and its libraries raise nearly anything on damaged files
        raise BadCheckpoint(f"transformers cannot load {folder}: {error}") from error
    if missing := sorted(report["missing_keys"]):
        raise BadCheckpoint(f"the weights in {folder} lack {len(missing)} tensors: {some(missing)}")
    if unexpected := sorted(report["unexpected_keys"]):
        warnings.warn(f"{folder}: {len(unexpected)} tensors were not used: {some(unexpected)}", stacklevel=4)
    return network, tokenizer, pixels


def _longest(config: Any, tokenizer: Any) -> int:
    """How many tokens the text tower reads: its positions, or fewer if the tokenizer says so."""
    text = config.text_config
    positions = int(text.max_position_embeddings)
    if text.model_type in ("xlm-roberta", "roberta", "altclip_text_model"):
        positions -= int(text.pad_token_id) + 1  # RoBERTa counts positions from the padding's id plus 1
    return min(positions, int(tokenizer.model_max_length))


def _without(values: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """The same, nested dictionaries included, without some keys."""
    kept = {key: value for key, value in values.items() if key not in keys}
    return {key: _without(value, keys) if isinstance(value, dict) else value for key, value in kept.items()}


def _tokenizer_hash(folder: Path) -> str:
    """SHA-256 over the names and contents of the tokenizer's files."""
    digest = hashlib.sha256()
    for file in sorted({file for pattern in TOKENIZER_FILES for file in folder.glob(pattern)}):
        digest.update(f"{file.name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
