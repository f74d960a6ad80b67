"""The .proto files keep the rules of buf's STANDARD category, and all parts are explained."""

import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

PROTO = Path(__file__).parents[2] / "proto"
SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
PASCAL = re.compile(r"[A-Z][A-Za-z0-9]*")


def compiled(root: Path, out: Path) -> list[descriptor_pb2.FileDescriptorProto]:
    sources = [str(path) for path in sorted(root.rglob("*.proto"))]
    options = [f"-I{root}", "--include_source_info", f"--descriptor_set_out={out}"]
    assert protoc.main(["protoc", *options, *sources]) == 0
    return list(descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file)


def faults(file: descriptor_pb2.FileDescriptorProto) -> list[str]:
    """What breaks a rule in one file, named by buf's rule."""
    found = []
    if not re.fullmatch(r"\w+(\.\w+)*\.v\d+", file.package):
        found.append(f"PACKAGE_VERSION_SUFFIX {file.package}")
    if str(Path(file.name).parent) != file.package.replace(".", "/"):
        found.append(f"PACKAGE_DIRECTORY_MATCH {file.name}")
    if not SNAKE.fullmatch(Path(file.name).stem):
        found.append(f"FILE_LOWER_SNAKE_CASE {file.name}")
    for message in file.message_type:
        if not PASCAL.fullmatch(message.name):
            found.append(f"MESSAGE_PASCAL_CASE {message.name}")
        for name in [f.name for f in message.field] + [o.name for o in message.oneof_decl]:
            if not SNAKE.fullmatch(name):
                found.append(f"FIELD_LOWER_SNAKE_CASE {message.name}.{name}")
    for enum in file.enum_type:
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper()
        if enum.value[0].name != f"{prefix}_UNSPECIFIED" or enum.value[0].number != 0:
            found.append(f"ENUM_ZERO_VALUE_SUFFIX {enum.name}")
        found += [f"ENUM_VALUE_PREFIX {v.name}" for v in enum.value if not v.name.startswith(prefix + "_")]
    return found + service_faults(file) + comment_faults(file)


def service_faults(file: descriptor_pb2.FileDescriptorProto) -> list[str]:
    found = []
    for service in file.service:
        if not service.name.endswith("Service"):
            found.append(f"SERVICE_SUFFIX {service.name}")
        for method in service.method:
            if method.input_type != f".{file.package}.{method.name}Request":
                found.append(f"RPC_REQUEST_STANDARD_NAME {method.name}")
            if method.output_type != f".{file.package}.{method.name}Response":
                found.append(f"RPC_RESPONSE_STANDARD_NAME {method.name}")
    return found


def comment_faults(file: descriptor_pb2.FileDescriptorProto) -> list[str]:
    said = {tuple(place.path) for place in file.source_code_info.location if place.leading_comments.strip()}
    obvious = ("Request", "Response")
    names = {(4, i): m.name for i, m in enumerate(file.message_type) if not m.name.endswith(obvious)}
    names |= {(6, i): s.name for i, s in enumerate(file.service)}
    names |= {(6, i, 2, j): m.name for i, s in enumerate(file.service) for j, m in enumerate(s.method)}
    return [f"COMMENT {name}" for place, name in names.items() if place not in said]


def test_all_files_keep_the_rules(tmp_path: Path) -> None:
    files = compiled(PROTO, tmp_path / "set")
    assert [fault for file in files for fault in faults(file)] == []
    methods = [method.name for file in files for service in file.service for method in service.method]
    assert len(methods) == len(set(methods)) == 13  # unique, so no message serves two methods


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("package polylens.v1;", "package polylens;", "PACKAGE_VERSION_SUFFIX"),
        ("service InfoService", "service Info", "SERVICE_SUFFIX"),
        ("GetInfoRequest", "InfoQuestion", "RPC_REQUEST_STANDARD_NAME"),
        ("uint32 max_k", "uint32 maxK", "FIELD_LOWER_SNAKE_CASE"),
        ("// The model a server runs.", "", "COMMENT"),
        ("message Model {", "enum A { B = 0; }\nmessage Model {", "ENUM_ZERO_VALUE_SUFFIX"),
    ],
)
def test_control_a_broken_rule_is_noticed(tmp_path: Path, old: str, new: str, rule: str) -> None:
    source = (PROTO / "polylens" / "v1" / "info.proto").read_text()
    assert old in source
    target = tmp_path / "polylens" / "v1" / "info.proto"
    target.parent.mkdir(parents=True)
    target.write_text(source.replace(old, new))
    (file,) = compiled(tmp_path, tmp_path / "set")
    assert any(fault.startswith(rule) for fault in faults(file))
