"""A tiny training set: coloured squares with names, as a parquet table and as a webdataset tar."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sentencepiece
from PIL import Image

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 180, 40),
    "blue": (30, 60, 220),
    "yellow": (240, 220, 40),
    "purple": (140, 40, 180),
    "orange": (250, 140, 20),
    "black": (10, 10, 10),
    "brown": (120, 70, 20),
}

MODEL = {
    "model_type": "internvl",
    "clip_embed_dim": 32,
    "attn_pool_num_heads": 2,
    "num_query_token": 4,
    "cross_attention_frequency": 2,
    "vision_config": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "image_size": 28,
        "patch_size": 14,
        "initializer_factor": 1.0,
    },
    "qllama_config": {
        "vocab_size": 320,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "rms_norm_eps": 1e-6,
        "initializer_range": 0.05,
    },
}


def square(colour: tuple[int, int, int]) -> bytes:
    """A PNG of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", (28, 28), colour).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="session")
def training_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pairs.parquet, pairs.tar, texts.parquet, config.json, tokenizer.model and train.toml."""
    folder = tmp_path_factory.mktemp("training")
    images = [square(colour) for colour in COLOURS.values()]
    names = list(COLOURS)
    pq.write_table(pa.table({"image": images, "group": names, "text": names}), folder / "pairs.parquet")
    pq.write_table(pa.table({"image": images, "group": names}), folder / "images.parquet")
    pq.write_table(
        pa.table(
            {
                "group": names * 2,
                "text": names + [f"a {n} thing" for n in names],
                "language": ["en"] * 8 + ["xx"] * 8,
                "name": [True] * 8 + [False] * 8,
            }
        ),
        folder / "texts.parquet",
    )
    with tarfile.open(folder / "pairs.tar", "w") as tar:
        for i, (name, image) in enumerate(zip(names, images, strict=True)):
            for suffix, content in (
                ("png", image),
                ("txt", name.encode()),
                ("json", json.dumps({"group": name}).encode()),
            ):
                member = tarfile.TarInfo(f"{i:09d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    (folder / "config.json").write_text(json.dumps(MODEL))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([f"summarize: a {n} thing" for n in names] * 4),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=300,
        model_type="bpe",
        byte_fallback=True,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "train.toml").write_text(
        'pairs = ["pairs.parquet"]\nmodel = "config.json"\ntokenizer = "."\n'
        "steps = 6\nbatch_size = 8\nwarmup_steps = 2\nsave_every = 3\nlog_every = 1\nseed = 3\n"
    )
    return folder
