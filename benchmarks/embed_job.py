"""How near a batch job comes to its slower half, how much memory it takes, and how clip-retrieval does it.

    python benchmarks/embed_job.py rate --model mini
    python benchmarks/embed_job.py peer --model open_clip:ViT-B-32/…/vitb32.pt --peer …/bin/clip-retrieval
    python benchmarks/embed_job.py memory

- `rate`: images/s of decoding alone, of the forward pass alone, and of the job, which take turns. With
  `--threads 1 --workers 1` on two cores each half has its own, as the halves of a machine with a GPU have.
- `peer`: the whole commands over the same tars, one after the other: images/s by the clock of the shell
  without the time that the command takes for one tar of two pictures (imports, loading), peak memory of the
  whole tree of processes (the sum of PSS, four times a second), and the bare forward pass of open_clip.
- `memory`: peak memory (the system's VmHWM) of a job over 10,000 and over 1,000,000 pictures of 4 x 4 pixels,
  with a model that only multiplies by a matrix, so that what grows is the job.
"""

import argparse
import io
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from polylens import load
from polylens.clip.batches import grouped
from polylens.clip.decoding.pool import Decoders
from polylens.clip.embedding.encode import Batch
from polylens.clip.embedding.pipeline import staged
from polylens.clip.embedding.prepare import decode_there, prepare
from polylens.clip.embedding.run import plan_of, run_job
from polylens.clip.embedding.settings import Settings
from polylens.clip.encoder import Encoder

SIZE = (640, 480)


def photo(seed: int) -> bytes:
    """A JPEG with the detail of a photograph: noise of several scales."""
    random = np.random.default_rng(seed)
    layers = []
    for cells in (6, 24, 96, 240):
        small = random.integers(0, 256, (cells * 3 // 4, cells, 3), np.uint8)
        layers.append(np.asarray(Image.fromarray(small).resize(SIZE, Image.Resampling.BICUBIC), np.float32))
    mixed = np.average(layers, axis=0, weights=[4, 3, 2, 1]).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(mixed).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_tars(folder: Path, tars: int, each: int, make: Callable[[int], bytes]) -> str:
    """The pattern of tars of so many pictures each."""
    for number in range(tars):
        with tarfile.open(folder / f"{number:05}.tar", "w") as tar:
            for i in range(number * each, (number + 1) * each):
                content = make(i)
                info = tarfile.TarInfo(f"{i:09}.jpg")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return str(folder / f"{{00000..{tars - 1:05}}}.tar")


def rate(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Medians of images/s, and of the job over the slower half."""
    torch.set_num_threads(given.threads)
    source = write_tars(folder, 2, given.images // 2, photo)
    encoder = load(given.model, dtype=given.dtype)
    settings = Settings(batch_size=given.batch_size)
    found: dict[str, list[float]] = {"decode": [], "forward": [], "job": []}
    kept: list[Batch] = []

    def decode(turn: int) -> None:
        plan = plan_of(encoder, [source], folder / f"decode{turn}", settings)
        decoders = Decoders(given.workers, encoder.recipe)
        there = decode_there(encoder, decoders.prepare)
        claims = ExitStack()
        stream = staged(
            plan,
            range(2),
            lambda one: prepare(one, settings, encoder=encoder, decode=there),
            claims,
            workers=given.workers,
            pin=False,
        )
        got = [one for one in stream if isinstance(one, Batch)]
        claims.close()
        decoders.close()
        kept[:] = kept or [Batch(one.rows, one.pixels_BCHW) for one in got[:8]]

    def forward(turn: int) -> None:
        for group in grouped(range(given.images), given.batch_size):
            pixels_BCHW = kept[group[0] // given.batch_size % len(kept)].pixels_BCHW
            if pixels_BCHW is not None:
                encoder.forward_images(pixels_BCHW[: len(group)])

    def job(turn: int) -> None:
        run_job(plan_of(encoder, [source], folder / f"job{turn}", settings), encoder, workers=given.workers)

    for turn in range(given.rounds):
        for name, run in (("decode", decode), ("forward", forward), ("job", job)):
            begun = time.perf_counter()
            run(turn)
            found[name].append(given.images / (time.perf_counter() - begun))
    ratios = [j / min(d, f) for d, f, j in zip(*found.values(), strict=True)]
    return {name: statistics.median(values) for name, values in found.items()} | {
        "job over the slower half": statistics.median(ratios),
        "job over both halves on the same cores": statistics.median(
            j * (1 / d + 1 / f) for d, f, j in zip(*found.values(), strict=True)
        ),
    }


def run_watched(command: Sequence[str]) -> tuple[float, float, float]:
    """Seconds of the command, those of the processors, and the peak of MB of all its processes together."""
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "WANDB_MODE": "disabled",
        "TOKENIZERS_PARALLELISM": "false",
    }
    begun, used, peak = time.perf_counter(), cpu_seconds(), 0.0
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        while child.poll() is None:
            peak = max(peak, tree_mb(child.pid))
            time.sleep(0.25)
        if child.returncode:
            log.seek(0)
            raise RuntimeError(log.read().decode()[-2000:])
    return time.perf_counter() - begun, cpu_seconds() - used, peak


def cpu_seconds() -> float:
    """What the children that have ended took of the processors."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def tree_mb(pid: int) -> float:
    """The memory of a process and of all below it, shared pages counted once."""
    total, pending = 0.0, [pid]
    while pending:
        one = pending.pop()
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
            total += (
                next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024
            )
            for task in Path(f"/proc/{one}/task").iterdir():
                pending += map(int, (task / "children").read_text().split())
        except (OSError, StopIteration):
            continue
    return total


def peer(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Rates and peaks of the whole commands over the same tars."""
    for name in ("few", "many"):
        (folder / name).mkdir()
    few, many = (
        write_tars(folder / "few", 1, 2, photo),
        write_tars(folder / "many", 2, given.images // 2, photo),
    )
    weights = given.model.removeprefix("open_clip:")

    def theirs(source: str, out: Path) -> list[str]:
        options = {
            "input_format": "webdataset",
            "input_dataset": source.replace("{00000..00000}", "00000"),
            "output_folder": str(out),
            "clip_model": f"open_clip:{weights}",
            "use_jit": "False",
            "enable_image": "True",
            "enable_text": "False",
            "enable_metadata": "False",
            "enable_wandb": "False",
            "batch_size": str(given.batch_size),
            "num_prepro_workers": str(given.workers),
            "output_partition_count": "1",
            "wds_number_file_per_input_file": str(given.images),
        }
        return [str(given.peer), "inference", *(w for k, v in options.items() for w in (f"--{k}", v))]

    def ours(dtype: str) -> Callable[[str, Path], list[str]]:
        program = [sys.executable, "-m", "polylens", "embed"]
        options = ["--model", given.model, "--dtype", dtype, "--workers", str(given.workers)]
        return lambda source, out: [
            *program,
            source,
            str(out),
            *options,
            "--batch-size",
            str(given.batch_size),
        ]

    results: dict[str, Any] = {}
    for name, command in (
        ("clip-retrieval", theirs),
        ("polylens float32", ours("float32")),
        ("polylens bfloat16", ours("bfloat16")),
    ):
        short, short_cpu, _ = run_watched(command(few, folder / f"{name} few"))
        seconds, cpu, peak = run_watched(command(many, folder / f"{name} many"))
        results[name] = {
            "images/s": (given.images - 2) / (seconds - short),
            "CPU s per image": (cpu - short_cpu) / (given.images - 2),
            "start s": short,
            "peak MB": peak,
        }
        print(name, results[name], file=sys.stderr, flush=True)
    results["bare forward"] = bare_forward(given)
    return results


def bare_forward(given: argparse.Namespace) -> dict[str, float]:
    """images/s of the network alone, in both precisions, over the same number of batches."""
    found = {}
    for dtype in ("float32", "bfloat16"):
        encoder = load(given.model, dtype=dtype)
        pixels_BCHW = torch.randn(given.batch_size, 3, 224, 224)
        encoder.forward_images(pixels_BCHW)
        begun, count = time.perf_counter(), max(2, given.images // given.batch_size // 2)
        for _ in range(count):
            encoder.forward_images(pixels_BCHW)
        found[dtype] = count * given.batch_size / (time.perf_counter() - begun)
    return found


class Matrix:
    """A model that is a matrix."""

    name, dim, logit_scale, max_text_tokens, fingerprint = "matrix", 64, 1.0, 8, "0" * 64

    def __init__(self) -> None:
        self._weights = torch.randn(48, self.dim, generator=torch.Generator().manual_seed(0))

    def prepare_image(self, image: Image.Image) -> Any:
        """pixels_CHW."""
        return np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1) / 255

    def prepare_text(self, text: str) -> Any:
        """ids_L."""
        return np.frombuffer(text.encode()[:8], np.uint8).astype(np.int64)

    def text_truncated(self, text: str) -> bool:
        """Whether more than 8 bytes."""
        return len(text.encode()) > 8

    def embed_images(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        """vectors_BD."""
        return pixels_BCHW.flatten(1) @ self._weights

    def embed_texts(self, ids_BL: torch.Tensor) -> torch.Tensor:
        """vectors_BD."""
        return ids_BL.float() @ self._weights[: ids_BL.shape[1]]


def tiny(i: int) -> bytes:
    """A PNG of 4 x 4 pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (i % 255 + 1, i // 255 % 256, i // 65025 % 256)).save(buffer, "PNG")
    return buffer.getvalue()


def memory(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Peaks of jobs of two sizes, each in a process of its own; one tar stands for all."""
    write_tars(folder, 1, 10_000, tiny)
    for number in range(1, given.most // 10_000):
        os.symlink("00000.tar", folder / f"{number:05}.tar")
    found = {}
    for count in (10_000, given.most):
        program = [sys.executable, __file__, "one-job", "--images", str(count), "--folder", str(folder)]
        done = subprocess.run(program, capture_output=True, text=True, check=True)
        found[f"{count}"] = json.loads(done.stdout)
    small, large = (one["peak MB"] for one in found.values())
    return found | {"growth": large / small - 1}


def one_job(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A job over so many tiny pictures."""
    torch.set_num_threads(1)
    out = folder / f"out{given.images}"
    source = str(folder / f"{{00000..{given.images // 10_000 - 1:05}}}.tar")
    encoder = Encoder(Matrix())
    manifest = run_job(plan_of(encoder, [source], out, Settings(batch_size=256)), encoder, workers=0)
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    return {"rows": manifest and manifest["rows"], "peak MB": peak}


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    modes = {"rate": rate, "peer": peer, "memory": memory, "one-job": one_job}
    parser.add_argument("mode", choices=modes)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--most", type=int, default=1_000_000, help="pictures of the larger job of `memory`")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the forward pass")
    parser.add_argument("--workers", type=int, default=1, help="processes that decode")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", type=Path, help="the program clip-retrieval")
    parser.add_argument("--folder", type=Path, help="where tars and outputs go; else a temporary folder")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    try:
        print(json.dumps(modes[given.mode](given, folder), indent=1))
    finally:
        if given.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
