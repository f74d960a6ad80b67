"""`load`: from a name to an `Encoder`."""

from pathlib import Path

import torch

from ..backbone.checkpoint import HUB_ID
from ..backbone.device import Placement
from ..errors import InvalidInput, PolylensError
from .encoder import Encoder
from .hugging_face import HuggingFace, family
from .internvl import InternVL
from .open_clip import OpenClip

MINI = Path(__file__).parent / "mini"
ACCEPTED = """expected one of
  mini                                the small InternVL-C inside the package
  a folder, or a .pth file            an InternVL checkpoint with its tokenizer.model beside it
  OWNER/NAME                          the same on the Hugging Face hub
  hf:OWNER/NAME, hf:FOLDER            a CLIP, SigLIP, Chinese-CLIP, AltCLIP ... of transformers
  open_clip:MODEL/PRETRAINED          an open_clip model, with a tag or the path of a checkpoint"""


def load(
    name: str | Path,
    *,
    head: str = "C",
    device: Placement = "auto",
    dtype: str | torch.dtype = "auto",
    preprocess: str = "service",
) -> Encoder:
    """The encoder of that name; `polylens.load("mini")` needs no download.

    `head` "C" or "G" is InternVL's choice of image vectors. `preprocess` is "service" (pictures as people see
    them: upright, transparency on white), or the original's "retrieval" or "classification"; for models of
    open_clip and transformers both mean the library's own transform alone. `dtype` "auto" is bfloat16 on a
    GPU and float32 elsewhere.
    """
    name = str(name)
    scheme, _, rest = name.partition(":")
    if scheme == "open_clip":
        return Encoder(OpenClip(rest, head=head, device=device, dtype=dtype, preprocess=preprocess))
    if scheme == "hf":
        here = Path(rest).expanduser().exists()
        if not rest or not here and (rest.startswith(".") or not HUB_ID.fullmatch(rest)):
            raise InvalidInput(f"{name!r} names no model; {ACCEPTED}")
        return Encoder(HuggingFace(rest, head=head, device=device, dtype=dtype, preprocess=preprocess))
    source = MINI if name == "mini" else Path(name).expanduser()
    if name == "mini" and not (MINI / "model.safetensors").is_file():
        raise PolylensError("this installation of polylens lacks the weights of mini: install a release")
    if not name or not source.exists() and (name.startswith(".") or not HUB_ID.fullmatch(name)):
        raise InvalidInput(f"{name!r} names no model; {ACCEPTED}")
    if family(source):
        foreign = HuggingFace(source, head=head, device=device, dtype=dtype, preprocess=preprocess, name=name)
        return Encoder(foreign)
    model = InternVL(source, head=head, device=device, dtype=dtype, preprocess=preprocess, name=name)
    return Encoder(model)
