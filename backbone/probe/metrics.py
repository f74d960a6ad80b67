"""What a classifier's logits say about labelled images, counted batch by batch.

Letters of the shapes: B batch, C classes, M right classes per image (padded with -1), K bins.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from ...errors import InvalidInput

BINS = 15  # of confidence, equally wide (Guo et al., "On Calibration of Modern Neural Networks", 2017)


class Meter:
    """Counts over any number of batches; several processes may add theirs."""

    def __init__(self, classes: Sequence[str], columns: Sequence[int] | None = None) -> None:
        """`classes` are those of the logits; `columns` are the only ones that may be answered."""
        self.columns = torch.arange(len(classes)) if columns is None else torch.tensor(list(columns))
        if not len(self.columns):
            raise InvalidInput("no class is left to answer with")
        self.classes = tuple(classes[int(column)] for column in self.columns)
        count = len(self.classes)
        # Where a class of the logits stands among the columns; -1: it may not be answered. The last entry
        # is for the padding of right classes, which index -1 reaches.
        self.place = torch.full((len(classes) + 1,), -1)
        self.place[self.columns] = torch.arange(count)
        self.confusion_CC = torch.zeros(count, count, dtype=torch.int64)  # right class by answered class
        self.top5_C = torch.zeros(count, dtype=torch.int64)
        self.right = torch.zeros(3, dtype=torch.int64)  # images, right at 1, right at 5
        self.bins_K3 = torch.zeros(BINS, 3, dtype=torch.float64)  # images, sum of confidence, right ones

    def update(self, logits_BC: Tensor, labels: Tensor) -> None:
        """Nothing; a batch is counted. `labels` are (B,), or (B, M) where any of several is right.

        An answer is right at k when a right class's logit is among the k highest; ties count against it.
        """
        logits_BC = logits_BC.detach().float().cpu()[:, self.columns]
        labels_BM = self.place[labels.cpu().view(len(logits_BC), -1)]
        own_BM = logits_BC.gather(1, labels_BM.clamp(min=0)).masked_fill(labels_BM < 0, -torch.inf)
        own_B1 = own_BM.amax(1, keepdim=True)
        rank_B = (logits_BC >= own_B1).sum(1)
        rank_B[~logits_BC.isfinite().all(1)] = len(self.classes) + 5  # an answer of NaN is none
        first_B, fifth_B = (rank_B <= 1) & (own_B1[:, 0] > -torch.inf), rank_B <= min(5, len(self.classes))
        self.right += torch.stack([torch.tensor(len(rank_B)), first_B.sum(), fifth_B.sum()])
        confidence_B, answer_B = logits_BC.softmax(1).nan_to_num(0).max(1)
        bin_B = (confidence_B * BINS).long().clamp(max=BINS - 1)
        rows_B3 = torch.stack([torch.ones(len(rank_B)), confidence_B, first_B.float()], 1).double()
        self.bins_K3.index_add_(0, bin_B, rows_B3)
        if labels_BM.shape[1] == 1:
            label_B = labels_BM[:, 0]
            count = len(self.classes)
            pairs = torch.bincount(label_B * count + answer_B, minlength=count * count)
            self.confusion_CC += pairs.view(count, count)
            self.top5_C += torch.bincount(label_B[fifth_B], minlength=count)

    def gather(self) -> None:
        """Nothing; the counts are then those of all processes."""
        if dist.is_initialized() and dist.get_world_size() > 1:
            for counts in (self.confusion_CC, self.top5_C, self.right, self.bins_K3):
                shared = counts.to("cuda") if dist.get_backend() == "nccl" else counts
                dist.all_reduce(shared)
                counts.copy_(shared)

    @property
    def top1(self) -> float:
        """The share of images, in [0, 1], whose highest logit is a right class's."""
        return int(self.right[1]) / max(int(self.right[0]), 1)

    @property
    def top5(self) -> float:
        """The share of images, in [0, 1], with a right class among the five highest logits."""
        return int(self.right[2]) / max(int(self.right[0]), 1)

    @property
    def calibration_error(self) -> float:
        """The mean distance, in [0, 1], of confidence and share of right answers, over the bins' images."""
        images_K, confidence_K, right_K = self.bins_K3.unbind(1)
        return float((confidence_K - right_K).abs().sum() / images_K.sum().clamp(min=1))

    def per_class(self) -> list[dict[str, Any]]:
        """A row per class that occurs: images, top-1, top-5, and the class it is most often taken for."""
        rows = []
        wrong_CC = self.confusion_CC.clone().fill_diagonal_(0)
        for label, name in enumerate(self.classes):
            if not (images := int(self.confusion_CC[label].sum())):
                continue
            most = int(wrong_CC[label].argmax())
            rows.append(
                {
                    "class": name,
                    "images": images,
                    "top1": int(self.confusion_CC[label, label]) / images,
                    "top5": int(self.top5_C[label]) / images,
                    "taken_for": self.classes[most] if wrong_CC[label, most] else "",
                    "times": int(wrong_CC[label, most]),
                }
            )
        return rows

    def summary(self) -> dict[str, float]:
        """The figures that a table shows, as fractions; names as in published-results."""
        rows = self.per_class()
        found = {
            "images": float(self.right[0]),
            "acc1": self.top1,
            "acc5": self.top5,
            "calibration_error": self.calibration_error,
        }
        if rows:
            found["mean_per_class_recall"] = float(np.mean([row["top1"] for row in rows]))
        return found
