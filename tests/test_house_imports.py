"""Imports follow the arrows of the house, form no cycle, and stand at the top of their file."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

# What a folder (or file at the root) may import besides itself and LEAVES; `__init__` is the root package.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "whole": set(),
    "backbone": set(),
    "clip": {"backbone"},
    "segmentation": {"backbone"},
    "index": set(),
    "proto": set(),
    "service": {"clip", "index", "proto"},
    "demo": {"clip", "index", "service"},
    "commands": {"backbone", "clip", "segmentation", "index", "proto", "service", "demo"},
    "cli": {"commands"},
    "__main__": {"cli"},
    "__init__": {"clip"},
}
LEAVES = {"errors", "whole"}  # at the root, open to all
# Heavy packages of an extra, and one heavy core package: a function may import them when it needs them.
LAZY_PACKAGES = {"open_clip", "transformers", "flash_attn", "pyarrow", "matplotlib", "huggingface_hub"}
# `import polylens` must not import torch: its __getattr__ does when `load` or `Encoder` is asked for.
LAZY_FUNCTIONS = {"polylens.__getattr__"}


class Import(NamedTuple):
    importer: str  # "polylens.clip.load"
    target: str  # "polylens.backbone.vit", "torch", "polylens.__version__" (a name of a package's __init__)
    function: str | None  # "polylens.clip.load.load" where the import is inside a function
    typing_only: bool


def sources(root: Path) -> dict[str, Path]:
    """Module name -> file, of every module of the package under `root`; generated code aside."""
    files = [file for file in root.glob("*.py") if file.name != "setup.py"]
    for folder in ARROWS:
        files += (root / folder).rglob("*.py")
    modules = {}
    for file in files:
        if not file.stem.endswith(("_pb2", "_pb2_grpc")):
            parts = file.relative_to(root).with_suffix("").parts
            modules[".".join(["polylens", *(part for part in parts if part != "__init__")])] = file
    return modules


def resolve(node: ast.Import | ast.ImportFrom, package: list[str]) -> list[str]:
    """Absolute names imported by a statement in a module of `package`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = package[: len(package) - node.level + 1] if node.level else []
    module = ".".join([*base, *([node.module] if node.module else [])])
    return [f"{module}.{alias.name}" for alias in node.names]


def imports_of(module: str, file: Path) -> list[Import]:
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    found: list[Import] = []

    def visit(node: ast.AST, function: str | None, typing_only: bool) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.extend(Import(module, name, function, typing_only) for name in resolve(node, package))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = f"{module}.{node.name}"
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            typing_only = True
        for child in ast.iter_child_nodes(node):
            visit(child, function, typing_only)

    visit(ast.parse(file.read_text()), None, False)
    return found


def part_of(module: str) -> str:
    """The folder (or root file) of a dotted name under polylens: "polylens.clip.load" -> "clip"."""
    part = (module.split(".") + ["__init__"])[1]
    return part if part in ARROWS else "__init__"


def wrong_arrows(root: Path) -> list[str]:
    wrong = []
    for module, file in sources(root).items():
        part = part_of(module)
        for found in imports_of(module, file):
            top = found.target.split(".")[0]
            if top in ARROWS:
                wrong.append(f"{module} imports {top}: a bare name of a folder of ours")
            elif top == "polylens" and found.target != "polylens.__version__":
                target = part_of(found.target)
                if target not in ARROWS[part] | {part} | LEAVES:
                    wrong.append(f"{module} imports {found.target}: {part} may not import {target}")
    return wrong


def cycles(root: Path) -> list[str]:
    """The modules of one cycle, if there is any; imports in functions count, those for typing do not."""
    modules = sources(root)
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for module, file in modules.items():
        for found in imports_of(module, file):
            # A target is a module or a name in one: polylens.clip.load.load is in polylens.clip.load.
            target = found.target if found.target in modules else found.target.rpartition(".")[0]
            if target in modules and target != module and not found.typing_only:
                graph[module].add(target)
    graph["polylens"] -= {f"polylens.clip.{name}" for name in ("load", "encoder")}  # lazy, see LAZY_FUNCTIONS
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def hidden_imports(root: Path) -> list[str]:
    return [
        f"{found.function} imports {found.target} inside a function"
        for module, file in sources(root).items()
        for found in imports_of(module, file)
        if found.function is not None
        and found.function not in LAZY_FUNCTIONS
        and found.target.split(".")[0] not in LAZY_PACKAGES
    ]


def test_every_folder_of_modules_has_its_arrows() -> None:
    folders = {file.parent.relative_to(ROOT).parts[0] for file in ROOT.glob("*/__init__.py")}
    assert folders <= ARROWS.keys()
    assert len(sources(ROOT)) > 20


def test_imports_follow_the_arrows() -> None:
    assert wrong_arrows(ROOT) == []


def test_modules_form_no_cycle() -> None:
    assert cycles(ROOT) == []


def test_imports_stand_at_the_top() -> None:
    assert hidden_imports(ROOT) == []


@pytest.fixture
def doctored(tmp_path: Path) -> Path:
    """A tree of our shape with nothing wrong in it, for the controls."""
    for folder in ("backbone", "clip", "index", "service"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "__init__.py").write_text('__version__ = "0"\n')
    (tmp_path / "errors.py").touch()
    (tmp_path / "backbone" / "vit.py").write_text("from .. import __version__\nfrom ..errors import Oops\n")
    (tmp_path / "clip" / "model.py").write_text("from ..backbone.vit import InternViT\n")
    assert wrong_arrows(tmp_path) == cycles(tmp_path) == hidden_imports(tmp_path) == []
    return tmp_path


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("index/search.py", "from ..clip.model import InternVLC"),
        ("index/search.py", "from ..clip import model"),
        ("index/search.py", "from .. import clip"),
        ("index/search.py", "import polylens.clip.model"),
        ("backbone/vit.py", "if True:\n    from ..service import server"),
        ("clip/model.py", "from .. import load"),
        ("clip/model.py", "import clip"),
        ("clip/model.py", "from proto.polylens import v1"),
    ],
)
def test_control_a_wrong_arrow_is_seen(doctored: Path, module: str, line: str) -> None:
    (doctored / module).write_text(line)
    assert len(wrong_arrows(doctored)) == 1


def test_control_a_cycle_is_seen(doctored: Path) -> None:
    (doctored / "index" / "one.py").write_text("from .two import b")
    (doctored / "index" / "two.py").write_text("from . import three")
    (doctored / "index" / "three.py").write_text("def f():\n    from .one import a")
    assert {"polylens.index.one", "polylens.index.two", "polylens.index.three"} <= set(cycles(doctored))


def test_control_an_import_inside_a_function_is_seen(doctored: Path) -> None:
    (doctored / "index" / "one.py").write_text("async def f():\n    import faiss\n    import open_clip")
    assert hidden_imports(doctored) == ["polylens.index.one.f imports faiss inside a function"]
