"""Head checkpoints in the published format: a .pth with {"model": {"norm.*", "head.*", "attn_pooling.*"}}."""

from pathlib import Path

import torch

from ...errors import InvalidInput
from ...whole import write_whole
from ..checkpoint import load_into
from ..weights import open_weights
from .frozen import Frozen
from .heads import Head, head_of
from .probe import Probe, describe


def load_head(path: str | Path, *, kind: str = "", num_heads: int = 1) -> Head:
    """The head of a published checkpoint, in eval mode, float32.

    The file does not say how many heads its attention has: the backbone's number. Nor does it tell the head
    of the CLIP projector from that of class token and patches: `kind` "clip_projector" does.
    """
    weights = open_weights(path)
    head = head_of({name: weights[name] for name in weights}, num_heads)
    load_into(head, weights, dtype=torch.float32)
    head.kind = kind or head.kind
    return head.eval()


def read_classes(path: Path) -> tuple[str, ...]:
    """The class names in a text file, one a line, in the order of the logits."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the class names in {path.name}: {error}") from error
    return tuple(line.strip() for line in lines if line.strip())


def adopt_head(head: Head, frozen: Frozen, classes: tuple[str, ...], model: str) -> Probe:
    """The probe that a published head and its backbone make; `frozen` taps the layer that the head reads."""
    width, count = head.norm.num_features, head.head.out_features
    if width != frozen.width:
        raise InvalidInput(f"the head reads {width} features, the backbone gives {frozen.width}")
    if count != len(classes):
        raise InvalidInput(f"the head has {count} classes, {len(classes)} names were given")
    return Probe(head, describe(frozen, frozen.layers[-1], classes, model, {}))


def save_head(head: Head, path: str | Path) -> None:
    """Nothing; the file then holds the head as the published checkpoints do."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
    write_whole(Path(path), lambda temporary: torch.save({"model": state}, temporary))
