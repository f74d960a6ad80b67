"""The model on many machines: forward passes go to the replicas of a Ray Serve deployment.

The server itself keeps what prepares texts and images and forms batches as ever; each batch is one call to a
replica. It has no weights: they are let go of once the fingerprint is known.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import nn

from ..clip.cluster import connected
from ..clip.encoder import Encoder
from ..clip.load import load
from ..clip.precision import made_faster
from ..errors import InvalidInput, require
from .errors import NotReady
from .records import Vector
from .settings import Settings

APP = "polylens"
SECONDS = 120.0  # for one batch
ATTEMPTS = 2  # of a batch whose replica died under it


class Replica:
    """One replica: a model of its own that embeds the batches it is sent."""

    def __init__(self, model: Mapping[str, Any], fingerprint: str, compile: bool = False) -> None:
        self._encoder = made_faster(load(**model), compile=compile)
        if self._encoder.fingerprint != fingerprint:
            raise InvalidInput(f"this machine's model is {self._encoder.fingerprint}, expected {fingerprint}")

    def embed_pixels(self, pixels_BCHW: Any) -> Vector:
        """Unit rows (B, D)."""
        return self._encoder.embed_pixels(list(pixels_BCHW))

    def embed_ids(self, ids: Any) -> Vector:
        """Unit rows (B, D)."""
        return self._encoder.embed_ids(ids)


class RemoteEncoder:
    """Prepares here as `front` does, and embeds on a replica; an `Encoder` in the service's eyes.

    It waits for one batch at a time, so a server holds as many as it has replicas.
    """

    def __init__(self, front: Encoder, handle: Any) -> None:
        self._handle = handle
        self.name, self.dim, self.fingerprint = front.name, front.dim, front.fingerprint
        self.logit_scale, self.max_text_tokens = front.logit_scale, front.max_text_tokens
        self.recipe = front.recipe
        self.prepare_image, self.prepare_text = front.prepare_image, front.prepare_text
        self.text_truncated = front.text_truncated

    def embed_pixels(self, pixels: Sequence[Any], /) -> Vector:
        """Unit rows (B, D) of prepared images."""
        stack_BCHW = np.stack(pixels)
        return self._call(lambda: self._handle.embed_pixels.remote(stack_BCHW))

    def embed_ids(self, ids: Sequence[Any], /) -> Vector:
        """Unit rows (B, D) of prepared texts."""
        return self._call(lambda: self._handle.embed_ids.remote(list(ids)))

    def _call(self, send: Callable[[], Any]) -> Vector:
        exceptions = require("ray.exceptions", "ray")
        for _ in range(ATTEMPTS):
            try:
                return np.asarray(send().result(timeout_s=SECONDS), np.float32)
            except exceptions.RayActorError:  # the replica died; Serve starts another, and knows of others
                continue
            except TimeoutError as error:
                raise NotReady(f"no replica answered within {SECONDS:.0f} seconds") from error
        raise NotReady("the replica died under the batch, and so did another")


@contextmanager
def deployed(settings: Settings) -> Iterator[list[RemoteEncoder]]:
    """An encoder for each replica, all of them up; they end with the block."""
    choice = {
        "name": settings.model,
        "head": settings.head,
        "dtype": settings.dtype,
        "preprocess": settings.preprocess,
    }
    front = load(**choice, device="cpu")
    fingerprint = front.fingerprint
    for part in vars(front.model).values():
        if isinstance(part, nn.Module):
            part.to("meta")
    with connected():
        serve = require("ray.serve", "ray")
        serve.start(proxy_location="Disabled")
        actor = {"num_cpus": settings.replica_cpus, "num_gpus": settings.replica_gpus}
        deployment = serve.deployment(Replica, num_replicas=settings.replicas, ray_actor_options=actor)
        app = deployment.bind({**choice, "device": settings.device}, fingerprint, settings.compile)
        handle = serve.run(app, name=APP, route_prefix=None)
        try:
            yield [RemoteEncoder(front, handle) for _ in range(settings.replicas)]
        finally:
            serve.delete(APP)
