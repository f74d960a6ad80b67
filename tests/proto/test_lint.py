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
    if not re.fullmatch(r"[a-z]\w*(\.[a-z]\w*)*\.v\d+", file.package) or not file.package.islower():
        found.append(f"PACKAGE_VERSION_SUFFIX {file.package}")
    if str(Path(file.name).parent) != file.package.replace(".", "/"):
        found.append(f"PACKAGE_DIRECTORY_MATCH {file.name}")
    if not SNAKE.fullmatch(Path(file.name).stem):
        found.append(f"FILE_LOWER_SNAKE_CASE {file.name}")
    if file.syntax != "proto3":
        found.append(f"SYNTAX_SPECIFIED {file.name}")
    found += [f"IMPORT_NO_PUBLIC {file.dependency[i]}" for i in file.public_dependency]
    messages, enums = nested(file)
    for message in messages:
        if not PASCAL.fullmatch(message.name):
            found.append(f"MESSAGE_PASCAL_CASE {message.name}")
        for name in [f.name for f in message.field] + [o.name for o in message.oneof_decl]:
            if not SNAKE.fullmatch(name.removeprefix("_")):  # protoc's own oneof of an optional field
                found.append(f"FIELD_LOWER_SNAKE_CASE {message.name}.{name}")
    for enum in enums:
        found += enum_faults(enum)
    return found + service_faults(file) + comment_faults(file)


def nested(
    file: descriptor_pb2.FileDescriptorProto,
) -> tuple[list[descriptor_pb2.DescriptorProto], list[descriptor_pb2.EnumDescriptorProto]]:
    """All messages and enums of a file, however deep; the entries of maps are protoc's own."""
    messages, enums, to_do = [], list(file.enum_type), list(file.message_type)
    while to_do:
        message = to_do.pop()
        if not message.options.map_entry:
            messages.append(message)
        enums += message.enum_type
        to_do += message.nested_type
    return messages, enums


def enum_faults(enum: descriptor_pb2.EnumDescriptorProto) -> list[str]:
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper()
    found = [f"ENUM_VALUE_PREFIX {v.name}" for v in enum.value if not v.name.startswith(prefix + "_")]
    found += [f"ENUM_VALUE_UPPER_SNAKE_CASE {v.name}" for v in enum.value if not v.name.isupper()]
    if enum.value[0].name != f"{prefix}_UNSPECIFIED" or enum.value[0].number != 0:
        found.append(f"ENUM_ZERO_VALUE_SUFFIX {enum.name}")
    if not PASCAL.fullmatch(enum.name):
        found.append(f"ENUM_PASCAL_CASE {enum.name}")
    if enum.options.allow_alias:
        found.append(f"ENUM_NO_ALLOW_ALIAS {enum.name}")
    return found


def service_faults(file: descriptor_pb2.FileDescriptorProto) -> list[str]:
    found = []
    for service in file.service:
        if not service.name.endswith("Service"):
            found.append(f"SERVICE_SUFFIX {service.name}")
        if not PASCAL.fullmatch(service.name):
            found.append(f"SERVICE_PASCAL_CASE {service.name}")
        for method in service.method:
            if not PASCAL.fullmatch(method.name):
                found.append(f"RPC_PASCAL_CASE {method.name}")
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
    assert len({file.package for file in files}) == 1  # DIRECTORY_SAME_PACKAGE
    methods = [method.name for file in files for service in file.service for method in service.method]
    assert len(methods) == len(set(methods)) == 24  # unique, so no message serves two methods


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("package polylens.v1;", "package polylens;", "PACKAGE_VERSION_SUFFIX"),
        ("service InfoService", "service Info", "SERVICE_SUFFIX"),
        ("GetInfoRequest", "InfoQuestion", "RPC_REQUEST_STANDARD_NAME"),
        ("uint32 max_k", "uint32 maxK", "FIELD_LOWER_SNAKE_CASE"),
        ("// The model a server runs.", "", "COMMENT"),
        ("message Model {", "enum A { B = 0; }\nmessage Model {", "ENUM_ZERO_VALUE_SUFFIX"),
        ("message Model {", "message Model { enum A { a = 0; }", "ENUM_VALUE_UPPER_SNAKE_CASE"),
        ("message Model {", "message Model { enum a_b { A_B_UNSPECIFIED = 0; }", "ENUM_PASCAL_CASE"),
        ("message Model {", "message Model { message inner {}", "MESSAGE_PASCAL_CASE"),
        ("rpc GetInfo(", "rpc get_info(", "RPC_PASCAL_CASE"),
        ('import "polylens', 'import public "polylens', "IMPORT_NO_PUBLIC"),
        ('syntax = "proto3";', 'syntax = "proto2";', "SYNTAX_SPECIFIED"),
    ],
)
def test_control_a_broken_rule_is_noticed(tmp_path: Path, old: str, new: str, rule: str) -> None:
    source = (PROTO / "polylens" / "v1" / "info.proto").read_text()
    assert old in source
    target = tmp_path / "polylens" / "v1" / "info.proto"
    target.parent.mkdir(parents=True)
    doctored = source.replace(old, new).replace(" Timings timings", " polylens.v1.Timings timings")
    if "proto2" in new:
        doctored = re.sub(r"^  (?=[\w.]+ \w+ = \d+;)", "  optional ", doctored, flags=re.MULTILINE)
    target.write_text(doctored)
    (target.parent / "types.proto").write_text((PROTO / "polylens" / "v1" / "types.proto").read_text())
    file = next(one for one in compiled(tmp_path, tmp_path / "set") if one.name.endswith("info.proto"))
    assert any(fault.startswith(rule) for fault in faults(file))


RELEASED = Path(__file__).parent / "released.txt"


def fields(files: list[descriptor_pb2.FileDescriptorProto]) -> set[str]:
    """One line for each field and method: what a caller built against it relies on."""
    lines = set()
    for file in files:
        for message in nested(file)[0]:
            for one in message.field:
                kind = one.type_name or descriptor_pb2.FieldDescriptorProto.Type.Name(one.type)
                many = " repeated" if one.label == one.LABEL_REPEATED else ""
                lines.add(f"{file.package}.{message.name} {one.number} {one.name} {kind}{many}")
        for service in file.service:
            for one in service.method:
                streams = f"{one.client_streaming} {one.server_streaming}"
                lines.add(f"{file.package}.{service.name} {one.name} {streams}")
    return lines


def test_changes_only_add(tmp_path: Path) -> None:
    """Whatever was in a release keeps its name, number and type. A release adds its lines to released.txt."""
    assert set(RELEASED.read_text().splitlines()) - fields(compiled(PROTO, tmp_path / "set")) == set()


def test_control_a_renumbered_field_is_noticed(tmp_path: Path) -> None:
    for source in (PROTO / "polylens" / "v1").glob("*.proto"):
        target = tmp_path / "polylens" / "v1" / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text().replace("uint32 k = 3;", "uint32 k = 9;"))
    lost = set(RELEASED.read_text().splitlines()) - fields(compiled(tmp_path, tmp_path / "set"))
    assert lost == {"polylens.v1.SearchRequest 3 k TYPE_UINT32"}
