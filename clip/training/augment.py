"""Style augmentation of drawings: what changes between two illustrators, never what the picture shows.

Works on whole batches, pixels_BCHW float32 in [0, 1], with every random number from the generator handed in.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def style_augment(pixels_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Another illustrator's take on each drawing: float32, same shape, in [0, 1]."""
    pixels = random_affine(pixels_BCHW, generator)
    pixels = random_colours(pixels, generator)
    pixels = random_outline(pixels, generator)
    return pixels.clamp_(0, 1)


def uniform(generator: torch.Generator, count: int, low: float, high: float) -> Tensor:
    """`count` float32 numbers between `low` and `high`."""
    return torch.rand(count, generator=generator) * (high - low) + low


def random_affine(pixels_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture scaled, turned, stretched and moved a little.

    The border colour fills what comes into view.
    """
    count = len(pixels_BCHW)
    zoom = uniform(generator, count, 0.85, 1.3)
    stretch = uniform(generator, count, 0.92, 1.08)
    angle = uniform(generator, count, -0.15, 0.15)
    shift_x, shift_y = uniform(generator, count, -0.07, 0.07), uniform(generator, count, -0.07, 0.07)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    matrix_B23 = torch.stack(
        [torch.stack([cos * stretch, -sin, shift_x], 1), torch.stack([sin, cos / stretch, shift_y], 1)], 1
    )
    grid = F.affine_grid(matrix_B23, list(pixels_BCHW.shape), align_corners=False)
    return F.grid_sample(pixels_BCHW, grid, padding_mode="border", align_corners=False)


def random_colours(pixels_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation and a slight hue shift.

    Some pictures lose their colour, some their shades.
    """
    count = len(pixels_BCHW)
    luma_B1HW = luma(pixels_BCHW)
    saturation = uniform(generator, count, 0.5, 1.5)
    saturation[torch.rand(count, generator=generator) < 0.08] = 0
    pixels = luma_B1HW + (pixels_BCHW - luma_B1HW) * saturation.view(-1, 1, 1, 1)
    hue_B33 = hue_rotation(uniform(generator, count, -0.2, 0.2))
    pixels = torch.einsum("bij,bjhw->bihw", hue_B33, pixels)
    contrast = uniform(generator, count, 0.85, 1.2).view(-1, 1, 1, 1)
    pixels = (1 - (1 - pixels) * contrast) * uniform(generator, count, 0.85, 1.1).view(-1, 1, 1, 1)
    levels = torch.randint(3, 6, (count,), generator=generator).view(-1, 1, 1, 1)
    flat = (torch.rand(count, generator=generator) < 0.2).view(-1, 1, 1, 1)
    return torch.where(flat, torch.round(pixels.clamp(0, 1) * levels) / levels, pixels)


def hue_rotation(angle_B: Tensor) -> Tensor:
    """Colour matrices (B, 3, 3) that turn the hue by `angle_B` radians around the grey axis."""
    cos, sin = torch.cos(angle_B).view(-1, 1, 1), torch.sin(angle_B).view(-1, 1, 1)
    third = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return cos * (torch.eye(3) - third) + third + sin * cross


def random_outline(pixels_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Dark contours where the colour changes, on a third of the pictures.

    A few become nothing but their contours.
    """
    count = len(pixels_BCHW)
    edge_B1HW = edges(pixels_BCHW)
    threshold = uniform(generator, count, 0.12, 0.35).view(-1, 1, 1, 1)
    line_B1HW = ((edge_B1HW - threshold) * 8).clamp(0, 1)
    thick = (torch.rand(count, generator=generator) < 0.5).view(-1, 1, 1, 1)
    line_B1HW = torch.where(thick, F.max_pool2d(line_B1HW, 3, 1, 1), line_B1HW)
    kind = torch.rand(count, generator=generator).view(-1, 1, 1, 1)
    drawn = pixels_BCHW * (1 - line_B1HW)
    return torch.where(
        kind < 0.05, 1 - line_B1HW.expand_as(drawn), torch.where(kind < 0.33, drawn, pixels_BCHW)
    )


def luma(pixels_BCHW: Tensor) -> Tensor:
    """Brightness (B, 1, H, W) in [0, 1]."""
    red, green, blue = pixels_BCHW.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(1)


def edges(pixels_BCHW: Tensor) -> Tensor:
    """The largest colour step to a neighbouring pixel, over the channels: (B, 1, H, W) in [0, 1]."""
    right = F.pad((pixels_BCHW[..., :, 1:] - pixels_BCHW[..., :, :-1]).abs(), (0, 1, 0, 0))
    below = F.pad((pixels_BCHW[..., 1:, :] - pixels_BCHW[..., :-1, :]).abs(), (0, 0, 0, 1))
    return torch.maximum(right, below).amax(1, keepdim=True)
