"""Rules of the code that a linter does not know: sizes, no assert, no unsafe loading, no printing."""

import ast
import importlib
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARIES = ("backbone", "clip", "segmentation", "index", "proto", "service")
FOLDERS = (*LIBRARIES, "demo", "commands")
FILES = [
    file
    for file in [*ROOT.glob("*.py"), *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))]
    if file.name != "setup.py" and not file.stem.endswith(("_pb2", "_pb2_grpc"))
]
MAX_LINES, MAX_FUNCTION_LINES = 400, 80
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
# Each of these calls is safe with the keyword given, and only with it.
SAFE_KEYWORD = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}


def violations(text: str, *, library: bool = True) -> Iterator[str]:
    """One sentence for each rule that the source breaks."""
    lines = text.count("\n")
    if lines > MAX_LINES:
        yield f"{lines} lines, at most {MAX_LINES}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assert):
            yield f"line {node.lineno}: assert (it vanishes under python -O): raise an error"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # Without the signature: that of a command is its table of options.
            length = (node.end_lineno or 0) - node.body[0].lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"line {node.lineno}: {node.name} has {length} lines, at most {MAX_FUNCTION_LINES}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            names = {prefix + alias.name for alias in node.names} - {"pickle.UnpicklingError"}
            yield from (f"line {node.lineno}: imports {n}" for n in names if n.split(".")[0] in PICKLES)
        elif isinstance(node, ast.Call):
            yield from call_violations(node, library)


def call_violations(call: ast.Call, library: bool) -> Iterator[str]:
    function = ast.unparse(call.func).replace("numpy.", "np.")
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if "trust_remote_code" in keywords:
        yield f"line {call.lineno}: trust_remote_code"
    if library and function == "print":
        yield f"line {call.lineno}: print in a library folder: return, log or raise"
    if function in SAFE_KEYWORD:
        name, value = SAFE_KEYWORD[function]
        given = keywords.get(name)
        if not (isinstance(given, ast.Constant) and given.value is value):
            yield f"line {call.lineno}: {function} without {name}={value}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_house_rules(file: Path) -> None:
    library = file.relative_to(ROOT).parts[0] in LIBRARIES
    assert list(violations(file.read_text(), library=library)) == []


@pytest.mark.parametrize(
    "text",
    [
        "assert x",
        "import pickle",
        "from pickle import UnpicklingError, loads",
        "import torch\ntorch.load(f)",
        "import torch\ntorch.load(f, weights_only=False)",
        "import torch\ntorch.load(f, weights_only=flag)",
        "import numpy as np\nnp.load(f)",
        "import numpy\nnumpy.load(f, allow_pickle=True)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "print('hello')",
        "x = 1\n" * 401,
        "def f():\n" + "    x = 1\n" * 81,
    ],
)
def test_control_each_violation_is_seen(text: str) -> None:
    assert len(list(violations(text))) == 1


def test_control_safe_code_is_let_through() -> None:
    text = "from pickle import UnpicklingError\nimport json\njson.load(f)\n"
    text += "torch.load(f, weights_only=True)\nnp.load(f, allow_pickle=False)\n"
    assert list(violations(text)) == []


PACKAGES = ["polylens", *(f"polylens.{folder}" for folder in FOLDERS if folder != "proto")]


def undeclared(module: types.ModuleType) -> set[str]:
    """Public names of a package that its `__all__` does not list; modules aside."""
    declared = set(getattr(module, "__all__", ()))
    modules = {name for name, value in vars(module).items() if isinstance(value, types.ModuleType)}
    public = {name for name in vars(module) if not name.startswith("_")}
    # typing's flag and marker are no more ours than a module is.
    return public - modules - declared - {"TYPE_CHECKING", "Any"}


@pytest.mark.parametrize("package", PACKAGES)
def test_all_lists_exactly_what_can_be_imported(package: str) -> None:
    module = importlib.import_module(package)
    declared = getattr(module, "__all__", [])
    assert undeclared(module) == set()
    assert len(declared) == len(set(declared))
    assert [name for name in declared if not hasattr(module, name)] == []


def test_control_a_name_missing_from_all_is_seen() -> None:
    module = types.ModuleType("polylens.made_up")
    exec("from pathlib import Path\nimport os\n__all__ = ['f']\nf = g = 1\n", vars(module))
    assert undeclared(module) == {"Path", "g"}
