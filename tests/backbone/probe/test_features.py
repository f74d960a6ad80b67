"""Features on disk: equal to the backbone's own, read row by row, and finished after a kill."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from polylens.backbone.probe import features as module
from polylens.backbone.probe.config import ProbeConfig
from polylens.backbone.probe.features import Features, compute_features
from polylens.backbone.probe.frozen import Frozen, freeze
from polylens.backbone.probe.layouts import read_set
from polylens.backbone.probe.samples import Samples
from polylens.backbone.probe.views import centre_view, train_view, view_generator
from polylens.backbone.world import World
from polylens.errors import InvalidInput

ALONE = World(0, 1, 0)


@pytest.fixture
def config(model: Path) -> ProbeConfig:
    return ProbeConfig(model=str(model), feature_batch=7, workers=2, image_size=28)


@pytest.fixture
def frozen(config: ProbeConfig) -> Frozen:
    return freeze(config.model, config.head, (1, -1), image_size=28, device="cpu")


@pytest.fixture
def samples(imagenet: Path) -> Samples:
    return read_set(imagenet / "train")


def compute(root: Path, samples: Samples, frozen: Frozen, config: ProbeConfig, passes: int = 0) -> Features:
    return compute_features(root, samples, frozen, config, ALONE, passes=passes)


def test_rows_are_the_backbones_features(
    samples: Samples, frozen: Frozen, config: ProbeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD_BYTES", 20 * 2 * 128 * 2)  # 20 images of 2 layers of 128 float16
    stored = compute(tmp_path, samples, frozen, config, passes=2)
    names = sorted(str(path.relative_to(stored.folder)) for path in stored.folder.rglob("*.npy"))
    assert names == [f"pass-{p}/shard-{n:05d}.npy" for p in range(2) for n in range(4)]
    rows = np.array([70, 3, 21, 3, 0])
    for which in range(2):
        views = [train_view(samples.image(row), 28, config, view_generator(0, which, row)) for row in rows]
        wanted = frozen.features(torch.from_numpy(np.stack(views)))
        assert torch.allclose(stored.rows(rows, which), wanted, rtol=2e-3, atol=2e-3)
    plain = compute(tmp_path, samples, frozen, replace(config, feature_dtype="float32"))
    wanted = frozen.features(torch.from_numpy(np.stack([centre_view(samples.image(r), 28) for r in rows])))
    assert torch.allclose(plain.rows(rows), wanted, rtol=1e-5, atol=1e-5)
    assert plain.folder != stored.folder
    blocks = list(plain.blocks(1, size=50))
    assert torch.equal(torch.cat([block for block, _ in blocks]), plain.rows(np.arange(72))[:, 1])
    assert np.array_equal(np.concatenate([labels for _, labels in blocks]), samples.labels_N)


def test_few_files_are_open_at_a_time(
    samples: Samples, frozen: Frozen, config: ProbeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD_BYTES", 2 * 2 * 128 * 2)  # two images each: 36 shards
    stored = compute(tmp_path, samples, frozen, config)
    monkeypatch.setattr(module, "OPEN_SHARDS", 5)
    every = stored.rows(np.arange(72))
    assert len(stored.shards) == 5
    mapped = [
        link for link in Path("/proc/self/fd").iterdir() if str(stored.folder) in os.path.realpath(link)
    ]
    assert len(mapped) <= 6
    order = np.random.default_rng(0).permutation(72)
    assert torch.equal(stored.rows(order), every[order])


def test_a_killed_computation_goes_on_where_it_was(
    imagenet: Path, samples: Samples, frozen: Frozen, config: ProbeConfig, tmp_path: Path
) -> None:
    program = f"""if True:
        import os, signal
        from pathlib import Path
        from polylens.backbone.probe import features
        from polylens.backbone.probe.config import ProbeConfig
        from polylens.backbone.probe.frozen import freeze
        from polylens.backbone.probe.layouts import read_set
        from polylens.backbone.world import World
        features.SHARD_BYTES = 20 * 2 * 128 * 2
        config = ProbeConfig(**{config.to_dict()!r})
        frozen = freeze(config.model, config.head, (1, -1), image_size=28, device="cpu")
        seen = []
        def progress(count):
            seen.append(count)
            if sum(seen) > 50:
                os.kill(os.getpid(), signal.SIGKILL)
        features.compute_features(
            Path({str(tmp_path)!r}), read_set(Path({str(imagenet / "train")!r})), frozen, config,
            World(0, 1, 0), progress=progress)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("shard-*.npy")}
    assert sorted(path.name for path in finished) == ["shard-00000.npy", "shard-00001.npy"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SHARD_BYTES", 20 * 2 * 128 * 2)
        resumed = compute(tmp_path, samples, frozen, config)
        unbroken = compute(tmp_path / "unbroken", samples, frozen, config)
    assert all(path.stat().st_mtime_ns == before for path, before in finished.items())
    assert torch.equal(resumed.rows(np.arange(72)), unbroken.rows(np.arange(72)))


def test_damaged_shards_and_infinite_features_are_named(
    samples: Samples, frozen: Frozen, config: ProbeConfig, tmp_path: Path
) -> None:
    stored = compute(tmp_path, samples, frozen, config)
    shard = module.shard_path(stored.folder, 0, 0)
    whole = shard.read_bytes()
    for damaged in (whole[:1000], b"", b"no numpy file"):
        shard.write_bytes(damaged)
        with pytest.raises(InvalidInput, match=r"shard-00000\.npy is no readable shard"):
            replace(stored, shards={}).rows(np.arange(3))
    np.save(shard, np.zeros((3, 2, 128), np.float16))
    with pytest.raises(InvalidInput, match=r"has shape \(3, 2, 128\), expected \(72, 2, 128\)"):
        replace(stored, shards={}).rows(np.arange(3))
    frozen.vit.encoder.layers[0].mlp.fc2.bias.data.fill_(1e9)
    loud = replace(frozen, fingerprint="loud")
    with pytest.raises(InvalidInput, match="not finite in float16"):
        compute(tmp_path, samples, loud, config)
