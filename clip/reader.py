"""InternVL-G reads images and texts together: sentences about images, and whether a text fits an image.

Legend: B images, C colours, H and W pixels, L token positions, N image tokens, P pairs of image and text,
T texts of an image, V vision width.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import InvalidInput
from .batches import Ids, Pixels, grouped, padded, stacked
from .encoder import Encoder
from .internvl import InternVL
from .internvl_g import InternVLG
from .tokenizer import MAX_LENGTH

PROMPT = "English caption:"  # what captions went on from in InternVL's second stage of training
AT_ONCE = 64  # pairs of image and text in one pass


class Reader:
    """The query path of an InternVL-G that an `Encoder` has loaded; its images are prepared as the encoder's.

    `caption` and `match` are called from one thread at a time, the others from several.
    """

    def __init__(self, model: InternVL, network: InternVLG) -> None:
        self._tokenizer, self._network = model.tokenizer, network

    def prepare_text(self, text: str) -> tuple[Ids, bool]:
        """ids_L of a text to match, without the prefix of text vectors, and whether its end was cut off."""
        ids = np.array(self._tokenizer.encode(text, prefix=""), np.int64)
        return ids, self._tokenizer.truncated([text], prefix="")[0]

    def check_prompt(self, prompt: str) -> str:
        """The prompt, unless it is empty or longer than a text that the model reads."""
        if not prompt.strip():
            raise InvalidInput("the prompt is empty")
        if (count := self._tokenizer.encode_prompts([prompt])[0].shape[1]) > MAX_LENGTH:
            raise InvalidInput(f"the prompt has {count} tokens; at most {MAX_LENGTH} are read")
        return prompt

    @torch.inference_mode()
    def caption(
        self, pixels: Sequence[Pixels], prompts: Sequence[str], *, beams: int, least: int, most: int
    ) -> list[str]:
        """What goes on from each prompt about its image: `least` to `most` tokens, weighed by beam search."""
        ids_BL, mask_BL = self._tokenizer.encode_prompts(prompts)
        ids_BS = self._network.generate(
            torch.from_numpy(stacked(pixels)),
            ids_BL,
            mask_BL,
            num_beams=beams,
            min_new_tokens=least,
            max_new_tokens=most,
        )
        return [self._tokenizer.decode(row_S).strip() for row_S in ids_BS.cpu()]

    @torch.inference_mode()
    def match(
        self, pixels: Sequence[Pixels], texts: Sequence[Sequence[Ids]]
    ) -> list[npt.NDArray[np.float32]]:
        """For each image the probabilities (T,) that its texts belong to it."""
        image_BNV = self._network.c.vision_model(torch.from_numpy(stacked(pixels)))
        pairs = [(i, ids_L) for i, of_image in enumerate(texts) for ids_L in of_image]
        parts = [self._match(image_BNV, group) for group in grouped(pairs, AT_ONCE)]
        found_P = np.concatenate([*parts, np.empty(0, np.float32)])
        ends = np.cumsum([len(of_image) for of_image in texts])
        return np.split(found_P, ends[:-1])

    def _match(self, image_BNV: Tensor, pairs: Sequence[tuple[int, Ids]]) -> npt.NDArray[np.float32]:
        ids_PL = torch.from_numpy(padded([ids_L for _, ids_L in pairs]))
        logits_P2 = self._network.match_tokens(image_BNV[[i for i, _ in pairs]], ids_PL)
        probabilities_P: npt.NDArray[np.float32] = logits_P2.float().softmax(dim=1)[:, 1].cpu().numpy()
        return probabilities_P


def reader_of(encoder: Encoder) -> Reader | None:
    """The reader of an encoder of InternVL-G; None for any other model."""
    model = encoder.model
    if isinstance(model, InternVL) and isinstance(model.network, InternVLG):
        return Reader(model, model.network)
    return None
