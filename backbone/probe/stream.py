"""Images through the frozen backbone: decoded ahead in threads, forwarded in batches.

Letters of the shapes: B batch, C colours, H and W pixels, L tapped layers.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .config import ProbeConfig
from .frozen import Frozen
from .samples import Labels, Samples
from .views import centre_view, train_view, view_generator

AHEAD = 3  # batches decoded while the backbone works
PLAIN = -1  # the "epoch" of the one view that is not augmented


def stream(
    samples: Samples, frozen: Frozen, config: ProbeConfig, views: Iterable[tuple[Labels, Labels]]
) -> Iterator[Tensor]:
    """(B, L, ...) float32 for each (rows_B, epochs_B) of `views`, in their order.

    An epoch decides the random view of its row; `PLAIN` is the centre.
    """
    pending: deque[list[Future[npt.NDArray[np.float32]]]] = deque()
    with ThreadPoolExecutor(config.workers or None, thread_name_prefix="views") as pool:
        try:
            for rows_B, epochs_B in views:
                pending.append(
                    [
                        pool.submit(view, samples, int(row), frozen, config, int(epoch))
                        for row, epoch in zip(rows_B, epochs_B, strict=True)
                    ]
                )
                if len(pending) > AHEAD:
                    yield forward(frozen, pending.popleft())
            while pending:
                yield forward(frozen, pending.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def forward(frozen: Frozen, tasks: list[Future[npt.NDArray[np.float32]]]) -> Tensor:
    """The features of one batch of decoded views."""
    pixels_BCHW = np.stack([task.result() for task in tasks])
    return frozen.features(torch.from_numpy(pixels_BCHW))


def view(
    samples: Samples, row: int, frozen: Frozen, config: ProbeConfig, epoch: int
) -> npt.NDArray[np.float32]:
    """pixels_CHW of one image, augmented as in `epoch`, or plain."""
    size = frozen.vit.config.image_size
    image = samples.image(row)
    if epoch == PLAIN:
        return centre_view(image, size)
    return train_view(image, size, config, view_generator(config.seed, epoch, row))


def cut(rows: Labels, size: int) -> list[Labels]:
    """The rows in pieces of `size`; the last may be shorter."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]
