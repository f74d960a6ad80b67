"""What segmentation costs beside its backbone, 12 layers of width 384; see docs/segmentation.md.

    OMP_NUM_THREADS=1 python benchmarks/segmentation.py loop
    OMP_NUM_THREADS=1 python benchmarks/segmentation.py memory
    OMP_NUM_THREADS=1 python benchmarks/segmentation.py slide

Times are seconds of the processor, so that other processes on the machine count little; use one thread.

`loop`: mmengine trains the plug-in's backbone and a linear head on drawn images, everything counted from one
iteration to the next: reading and augmenting, step, optimiser, hooks. After each iteration the bare
backbone's forward and backward pass on the same shapes is timed, so that both see the same load; the figure
is the median of the ratios. `--frozen`: the bare backbone then only goes forward.

`memory`: what one forward and backward pass adds to the memory of a process, gradients too (the peak VmHWM
less what was there before), in a process of its own with and without gradient checkpointing, and how long a
pass takes.

`slide`: windows per second when a picture is segmented by sliding windows, several and 1 of them at a time,
beside the same windows, cut out beforehand, through the backbone alone and through backbone and head.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import parser, ratio, table
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS
from polylens.backbone import InternViT
from polylens.segmentation import InternViTBackbone
from polylens.segmentation.drawn import write
from polylens.segmentation.runs import Options, load_config
from polylens.segmentation.segmentor import spans
from probe_time import SMALL, clocked
from torch import Tensor

WARM_UP = 2  # rounds that do not count


class BareBeside(Hook):  # type: ignore[misc]  # mmengine has no types
    """Notes how long each iteration of the loop took, and right after it the bare backbone's pass."""

    priority = "LOWEST"  # after the other hooks: their time is the loop's

    def __init__(self, bare: Callable[[], object]) -> None:
        self.bare, self.loop, self.alone, self.since = bare, list[float](), list[float](), 0.0

    def before_train(self, runner: Any) -> None:
        self.since = time.process_time()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.loop.append(time.process_time() - self.since)
        self.alone.append(clocked(self.bare))
        self.since = time.process_time()


def training(folder: Path, given: Namespace) -> Any:
    """The config of a training with a linear head on drawn images in the folder."""
    side = given.image
    write(folder, training=32, validation=1, size=(side, side * 5 // 4))
    config = load_config("tiny/linear_frozen", Options(work_dir=folder / "work"))
    config.model.backbone.update(
        size=SMALL.to_dict(), pretrained=None, image_size=side, taps=[-1], frozen=given.frozen
    )
    config.model.decode_head.in_channels = SMALL.hidden_size
    config.model.data_preprocessor.size = config.model.test_cfg.crop_size = (side, side)
    config.train_dataloader.batch_size = given.batch
    config.train_dataloader.dataset.data_root = str(folder)
    pipeline = config.train_dataloader.dataset.pipeline
    pipeline[2].scale, pipeline[3].crop_size = (4 * side, side), (side, side)
    config.train_cfg.max_iters = given.rounds + WARM_UP
    for part in ("val_dataloader", "val_cfg", "val_evaluator"):
        config[part] = None
    config.train_cfg.val_interval = given.rounds + WARM_UP + 1
    config.default_hooks.checkpoint.save_best = None
    return config


def passing(vit: InternViT, pixels_BCHW: Tensor, *, frozen: bool) -> Callable[[], None]:
    """A function that goes forward through the backbone, and back when it is trained."""

    def run() -> None:
        if frozen:
            with torch.no_grad():
                vit(pixels_BCHW)
        else:
            vit(pixels_BCHW).mean().backward()
            vit.zero_grad()

    return run


def measure_loop(given: Namespace) -> None:
    bare = InternViT(replace(SMALL, image_size=given.image)).train(not given.frozen)
    pixels = torch.randn(given.batch, 3, given.image, given.image)
    hook = BareBeside(passing(bare, pixels, frozen=given.frozen))
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner.from_cfg(training(Path(folder), given))
        runner.register_hook(hook)
        runner.train()
    loop, alone = hook.loop[WARM_UP:], hook.alone[WARM_UP:]
    print(f"\n{given.image} px, batch {given.batch}, {'frozen' if given.frozen else 'trained'}")
    medians = statistics.median(loop), statistics.median(alone)
    head = ("iterations", "loop, s", "backbone alone, s", "loop's share of the backbone's rate")
    print(table(head, [(str(len(loop)), *medians, ratio(alone, loop))]))


def status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def one_pass(given: Namespace, checkpointing: bool) -> None:
    """Prints the bytes that a pass adds at its peak, and the seconds of the fastest."""
    backbone = InternViTBackbone(
        SMALL.to_dict(), image_size=given.image, taps=[2, 5, 8, 11], checkpointing=checkpointing
    ).train()
    pixels = torch.randn(given.batch, 3, given.image, given.image)

    def run(side: int = given.image) -> None:
        sum(level.mean() for level in backbone(pixels[..., :side, :side])).backward()  # type: ignore[union-attr]

    run(28)  # torch's code for it is then in memory
    backbone.zero_grad()
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    times = [clocked(run)]
    added = status("VmHWM") - before
    print(added, min([*times, *(clocked(run) for _ in range(given.rounds - 1))]))


def measure_memory(given: Namespace) -> None:
    rows = []
    for what in ("kept", "computed again"):
        command = [sys.executable, __file__, "memory", "--child", what, "--rounds", str(given.rounds)]
        command += ["--image", str(given.image), "--batch", str(given.batch)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        rows.append((f"activations {what}", int(said[0]) / 1e6, float(said[1])))
    print(f"\n{given.image} px, batch {given.batch}")
    print(table(("", "memory added, MB", "forward and backward, s"), rows))


def segmentor(given: Namespace, windows: int) -> Any:
    """A backbone with a linear head for 150 classes, which looks at so many windows at a time."""
    model = load_config("intern_vit_6b_224px/linear_frozen").model
    model.backbone.update(
        size=SMALL.to_dict(), pretrained=None, image_size=given.image, taps=[-1], precision="float32"
    )
    model.decode_head.update(in_channels=SMALL.hidden_size, norm_cfg={"type": "BN"})
    stride = given.image * 9 // 14  # the published recipes' 322 of 504 pixels, to a patch
    crop = (given.image, given.image)
    model.test_cfg = ConfigDict(mode="slide", crop_size=crop, stride=(stride, stride), windows=windows)
    init_default_scope("mmseg")
    return MODELS.build(model).eval()


@torch.inference_mode()
def measure_slide(given: Namespace) -> None:
    several, single = segmentor(given, given.batch), segmentor(given, 1)
    side = given.image + 2 * several.test_cfg.stride[0]
    picture = torch.randn(1, 3, side, side)
    places = spans(side, given.image, several.test_cfg.stride[0])
    cut = torch.cat(
        [picture[:, :, top:bottom, left:right] for top, bottom in places for left, right in places]
    )
    metas = [{"img_shape": cut.shape[2:]}]
    runs: dict[str, Callable[[], object]] = {
        "backbone alone": lambda: [several.backbone(part) for part in cut.split(given.batch)],
        "backbone and head": lambda: [several.encode_decode(part, metas) for part in cut.split(given.batch)],
        f"sliding, {given.batch} at a time": lambda: several.slide_inference(picture, metas),
        "sliding, 1 at a time": lambda: single.slide_inference(picture, metas),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(given.rounds + 1):
        for name, run in runs.items():
            taken = clocked(run)
            if turn:
                times[name].append(taken)
    alone, network = times["backbone alone"], times["backbone and head"]
    print(f"\n{len(cut)} windows of {given.image} px in a picture of {side} px")
    rows = [
        (name, len(cut) / statistics.median(taken), ratio(alone, taken), ratio(network, taken))
        for name, taken in times.items()
    ]
    print(table(("", "windows/s", "over backbone", "over backbone and head"), rows))


# what is measured -> its function, and the sizes where those of the command line are left out
MEASURES: dict[str, tuple[Callable[[Namespace], None], dict[str, int]]] = {
    "loop": (measure_loop, {"image": 224, "batch": 4, "rounds": 20}),
    "memory": (measure_memory, {"image": 448, "batch": 2, "rounds": 2}),
    "slide": (measure_slide, {"image": 224, "batch": 8, "rounds": 5}),
}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("what", choices=MEASURES)
    options.add_argument("--image", type=int, help="pixels per side of a crop, a multiple of 14")
    options.add_argument("--batch", type=int, help="crops, or windows, at a time")
    options.add_argument("--rounds", type=int)
    options.add_argument("--frozen", action="store_true", help="loop: only the head is trained")
    options.add_argument("--child", help="memory: for the processes that this one starts")
    measure, usual = MEASURES[options.parse_known_args()[0].what]
    options.set_defaults(**usual)
    given = options.parse_args()
    if given.child:
        one_pass(given, given.child != "kept")
        return
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    measure(given)


if __name__ == "__main__":
    main()
