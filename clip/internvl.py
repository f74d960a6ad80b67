"""InternVL-C and -G as dual encoders, with their tokenizer and preprocessing."""

import hashlib
import math
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ..backbone.checkpoint import open_weights, read_config, resolve
from ..backbone.device import Placement
from ..backbone.pixels import Preprocess, mode_and_draft
from ..errors import InvalidInput
from .config import InternVLConfig
from .fingerprint import fingerprint
from .internvl_c import InternVLC
from .internvl_g import InternVLG
from .recipe import written
from .tokenizer import MAX_LENGTH, PREFIX, Tokenizer

HEADS: dict[str, type[InternVLC] | type[InternVLG]] = {"C": InternVLC, "G": InternVLG}


class InternVL:
    """A checkpoint of InternVL loaded as a `DualEncoder`; `head` "C" or "G" chooses the image vectors."""

    def __init__(
        self,
        source: str | Path,
        *,
        head: str,
        device: Placement = "auto",
        dtype: str | torch.dtype = "auto",
        preprocess: str = "service",
        name: str | None = None,
    ) -> None:
        if head not in HEADS:
            raise InvalidInput(f"head is {head!r}, expected one of {', '.join(HEADS)}")
        self.path, self.head, self.name = resolve(source), head, name or str(source)
        folder = self.path if self.path.is_dir() else self.path.parent
        self.tokenizer = Tokenizer.from_pretrained(folder)
        # A .pth file holds no sizes; where none are beside it they are taken for the published ones.
        given = InternVLConfig.from_dict(read_config(folder)) if (folder / "config.json").is_file() else None
        self.network = HEADS[head].from_pretrained(self.path, device=device, dtype=dtype, config=given)
        config = self.network.config
        if self.tokenizer.vocab_size > config.qllama_config.vocab_size:
            raise InvalidInput(
                f"the tokenizer in {folder} has {self.tokenizer.vocab_size} ids, the model only knows "
                f"{config.qllama_config.vocab_size}"
            )
        mode, draft = mode_and_draft(preprocess)
        self.preprocess = Preprocess(mode, config.vision.image_size, draft=draft)
        self.draft_size = self.preprocess.draft_size
        self.dim = config.clip_embed_dim
        self.max_text_tokens = MAX_LENGTH
        # As stored: bfloat16 would round the factor of all logits by up to 2 %.
        self.logit_scale = math.exp(open_weights(self.path)["logit_scale"].item())

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights as stored, head, preprocessing and tokenizer; see fingerprint.py."""
        tokenizer = self.tokenizer.model_bytes + "\n".join(self.tokenizer.special_tokens).encode()
        spec = {
            "family": "InternVL",
            "head": self.head,
            "dim": self.dim,
            "preprocess": self.preprocess.spec,
            "prefix": PREFIX,
            "tokens": MAX_LENGTH,
            "tokenizer": hashlib.sha256(tokenizer).hexdigest(),
        }
        return fingerprint(open_weights(self.path), spec)

    @property
    def device(self) -> torch.device:
        """Where the first weights are."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """That of the weights as they are used."""
        return next(self.network.parameters()).dtype

    @property
    def recipe(self) -> str:
        """The preprocessing as a text; see recipe.py."""
        return written(self.preprocess)

    def prepare_image(self, image: Image.Image) -> npt.NDArray[np.float32]:
        """pixels_CHW, normalised."""
        return self.preprocess(image)

    def prepare_text(self, text: str) -> npt.NDArray[np.int64]:
        """ids_L with prefix, BOS and EOS."""
        return np.array(self.tokenizer.encode(text), np.int64)

    def text_truncated(self, text: str) -> bool:
        """Whether the text has more tokens than are read."""
        return self.tokenizer.truncated([text])[0]

    def embed_images(self, pixels_BCHW: Tensor) -> Tensor:
        """vectors_BD, not normalised."""
        return self.network.encode_image(pixels_BCHW)

    def embed_texts(self, ids_BL: Tensor) -> Tensor:
        """vectors_BD, not normalised."""
        return self.network.encode_text(ids_BL)
