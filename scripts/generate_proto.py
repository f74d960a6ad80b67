"""Writes the Python code of proto/polylens/v1/*.proto beside them: python scripts/generate_proto.py

Run it with the grpcio-tools of the oldest grpcio that setup.py allows, because generated code refuses every
runtime older than the tools that made it:

    pip install grpcio-tools==1.78.0
"""

import re
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

PROTO = Path(__file__).resolve().parents[1] / "proto"
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"
PACKAGE = "polylens/v1"


def generate(out: Path) -> list[Path]:
    """The generated files, written under `out`/polylens/v1."""
    sources = sorted((PROTO / PACKAGE).glob("*.proto"))
    kinds = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", f"-I{PROTO}", f"-I{WELL_KNOWN}", *kinds, *map(str, sources)]) != 0:
        raise SystemExit("protoc refused the .proto files")
    for source in sources:
        if "\nservice " not in source.read_text():  # the stubs of a file without a service are empty
            (out / PACKAGE / f"{source.stem}_pb2_grpc.py").unlink()
    files = sorted((out / PACKAGE).glob("*_pb2*.py*"))
    for path in files:
        # protoc names modules after the .proto folder (polylens.v1); they live in the package polylens.proto.
        text = path.read_text().replace("from polylens.v1 import", "from . import")
        path.write_text(re.sub(r"'(polylens\.v1\.\w+_pb2)'", r"'polylens.proto.\1'", text))
    return files


if __name__ == "__main__":
    generate(PROTO)
