"""Any open_clip model as a dual encoder, with open_clip's own tokenizer and preprocessing."""

import difflib
from pickle import UnpicklingError
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ..backbone.device import Placement, pick_device, pick_dtype
from ..backbone.pixels import JPEG_DRAFT, mode_and_draft
from ..errors import InvalidInput, require
from .fingerprint import fingerprint
from .foreign import check_options
from .open_clip_pixels import OpenClipPixels
from .recipe import decoding, written
from .seen import seen, seen_spec

SCHEMES = ("hf-hub:", "local-dir:")  # open_clip's own, which need no PRETRAINED


class OpenClip:
    """An open_clip model loaded as a `DualEncoder`.

    With preprocess "service" pictures are first turned upright and put on white, as everywhere else in the
    service; what follows is open_clip's own transform. Weights are loaded with `weights_only`.
    """

    def __init__(
        self,
        source: str,
        *,
        head: str = "C",
        device: Placement = "auto",
        dtype: str | torch.dtype = "auto",
        preprocess: str = "service",
    ) -> None:
        preprocess, draft = mode_and_draft(preprocess)
        one_device = check_options("open_clip", head=head, preprocess=preprocess, device=device)
        open_clip = require("open_clip", "open_clip")
        self.name, self._preprocess = f"open_clip:{source}", preprocess
        model, pretrained = split(source, open_clip.list_models())
        self.network, self._transform = _create(open_clip, model, pretrained)
        config = open_clip.get_model_preprocess_cfg(self.network)
        self._pixels = OpenClipPixels.of(config, preprocess, draft)
        if draft and self._pixels is None:
            raise InvalidInput(f"open_clip:{model} has a preprocessing of its own, which knows no draft")
        self.draft_size = self._pixels.draft_size if self._pixels else None
        self._tokenizer = open_clip.get_tokenizer(model)
        self._lock = Lock()  # the Hugging Face tokenizers that some models use cannot be shared by threads
        self.dim = int(open_clip.get_model_config(model)["embed_dim"])
        self.max_text_tokens = int(self._tokenizer.context_length)
        self.logit_scale = float(self.network.logit_scale.detach().exp())
        # Before the precision changes: the fingerprint is of the weights as stored.
        self.fingerprint = fingerprint(self.network.state_dict(), self._spec(open_clip, model))
        self.device = pick_device(one_device)
        self.dtype = pick_dtype(dtype, self.device)
        self.network = self.network.to(self.device, self.dtype).eval()

    @property
    def recipe(self) -> str:
        """The preprocessing as a text, or decoding alone where it is an unusual one; see recipe.py."""
        return written(self._pixels) if self._pixels else decoding(self._preprocess)

    def prepare_image(self, image: Image.Image) -> npt.NDArray[np.float32]:
        """pixels_CHW, normalised."""
        if self._pixels:
            return self._pixels(image)
        pixels_CHW: npt.NDArray[np.float32] = self._transform(seen(image, self._preprocess)).numpy()
        return pixels_CHW

    def prepare_text(self, text: str) -> npt.NDArray[np.int64]:
        """ids_L, padded to the context length as open_clip's text towers expect."""
        return self._ids(text, self.max_text_tokens)

    def text_truncated(self, text: str) -> bool:
        """Whether the text has more tokens than the context length."""
        ids_L = self._ids(text, self.max_text_tokens + 1)
        padding = getattr(getattr(self._tokenizer, "tokenizer", None), "pad_token_id", None) or 0
        return bool(ids_L[0] != padding and ids_L[-1] != padding)  # padding may stand on either side

    def embed_images(self, pixels_BCHW: Tensor) -> Tensor:
        """vectors_BD, not normalised."""
        vectors_BD: Tensor = self.network.encode_image(pixels_BCHW.to(self.device, self.dtype))
        return vectors_BD

    def embed_texts(self, ids_BL: Tensor) -> Tensor:
        """vectors_BD, not normalised."""
        vectors_BD: Tensor = self.network.encode_text(ids_BL.to(self.device))
        return vectors_BD

    def _ids(self, text: str, length: int) -> npt.NDArray[np.int64]:
        with self._lock:
            ids_L: npt.NDArray[np.int64] = self._tokenizer([text], context_length=length)[0].numpy()
        return ids_L

    def _spec(self, open_clip: Any, model: str) -> dict[str, Any]:
        drafted = {"decode": JPEG_DRAFT} if self.draft_size else {}
        return drafted | {
            "family": "open_clip",
            "model": open_clip.get_model_config(model),  # names the tokenizer as well
            "preprocess": open_clip.get_model_preprocess_cfg(self.network),
            "picture": seen_spec(self._preprocess),
        }


def split(source: str, models: list[str]) -> tuple[str, str | None]:
    """MODEL and PRETRAINED of `MODEL/PRETRAINED`; the latter is a tag, or a path with slashes of its own."""
    if source.startswith(SCHEMES):
        return source, None
    model, _, pretrained = source.partition("/")
    if model not in models:
        close = difflib.get_close_matches(model, models, n=3, cutoff=0.4)
        raise InvalidInput(f"open_clip has no model {model!r}; close to it: {', '.join(close) or 'none'}")
    if not pretrained:
        raise InvalidInput(f"expected open_clip:{model}/PRETRAINED, a tag or a path; got no PRETRAINED")
    return model, pretrained


def _create(open_clip: Any, model: str, pretrained: str | None) -> tuple[Any, Any]:
    """The network in float32 on the CPU, and its transform from PIL image to pixels_CHW."""
    try:
        network, transform = open_clip.create_model_from_pretrained(
            model, pretrained, precision="fp32", device="cpu", weights_only=True
        )
    except (RuntimeError, ValueError, OSError, KeyError, AttributeError, UnpicklingError) as error:
        raise InvalidInput(f"open_clip cannot load {model} from {pretrained}: {error}") from error
    return network, transform
