"""The committed code is what protoc makes of the .proto files, and suits the oldest runtimes of setup.py."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import grpc
import pytest
from google.protobuf import runtime_version

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "proto" / "polylens" / "v1"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_proto", ROOT / "scripts" / "generate_proto.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_stamps(text: str) -> str:
    """The generated code without what differs between releases of protoc: its version and two manners."""
    text = re.sub(r"# Protobuf Python Version: .*", "", text)
    text = re.sub(r"(Domain\.PUBLIC,)\s+\d+,\s+\d+,\s+\d+,", r"\1", text)
    text = re.sub(r"GRPC_GENERATED_VERSION = .*", "", text)
    return text.replace("(object):", ":").replace(": _Optional[bool] =", ": bool =")


def test_committed_code_is_what_protoc_makes(tmp_path: Path) -> None:
    made = {path.name: without_stamps(path.read_text()) for path in load_script().generate(tmp_path)}
    committed = {path.name: without_stamps(path.read_text()) for path in COMMITTED.glob("*_pb2*.py*")}
    assert made == committed
    assert len(made) == 7 * 3 + 2


def test_control_a_changed_message_is_noticed(tmp_path: Path) -> None:
    script = load_script()
    for source in COMMITTED.glob("*.proto"):
        target = tmp_path / "proto" / "polylens" / "v1" / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text().replace("uint32 k = 3;", "uint64 k = 3;"))
    script.PROTO = tmp_path / "proto"  # type: ignore[attr-defined]
    made = {path.name: without_stamps(path.read_text()) for path in script.generate(tmp_path)}
    committed = {name: without_stamps((COMMITTED / name).read_text()) for name in made}
    different = [name for name in made if made[name] != committed[name]]
    assert different == ["search_pb2.py"]


def oldest(requirement: str) -> tuple[int, ...]:
    found = re.search(rf'"{requirement}>=([\d.]+)[",]', (ROOT / "setup.py").read_text())
    assert found, f"setup.py gives no lower bound for {requirement}"
    version = tuple(int(part) for part in found[1].split("."))
    return version + (0,) * (3 - len(version))


@pytest.mark.parametrize("path", sorted(COMMITTED.glob("*_pb2*.py")), ids=lambda path: path.name)
def test_stamps_are_not_newer_than_the_oldest_allowed_runtime(path: Path) -> None:
    text = path.read_text()
    if path.name.endswith("_grpc.py"):
        stamp = re.search(r"GRPC_GENERATED_VERSION = '([\d.]+)'", text)
        allowed = oldest("grpcio")
    else:
        stamp = re.search(r"# Protobuf Python Version: ([\d.]+)", text)
        allowed = oldest("protobuf")
    assert stamp and tuple(int(part) for part in stamp[1].split(".")) <= allowed


def test_no_package_marker_in_proto() -> None:
    # With an __init__.py, `import proto` run from the root would find this folder instead of proto-plus.
    assert not list((ROOT / "proto").rglob("__init__.py"))


def test_loads_as_part_of_the_package_only() -> None:
    from polylens.proto.polylens.v1 import search_pb2, search_pb2_grpc

    assert search_pb2.SearchRequest.__module__ == "polylens.proto.polylens.v1.search_pb2"
    assert search_pb2.DESCRIPTOR.name == "polylens/v1/search.proto"
    assert search_pb2_grpc.SearchServiceStub(grpc.insecure_channel("localhost:1")).Search is not None
    assert "polylens.v1" not in sys.modules
    assert runtime_version.MAJOR >= 6
