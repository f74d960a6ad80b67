"""A missing extra gives one clear sentence; each `require` names the extra that brings its module."""

import ast
import importlib.metadata
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import setuptools
from polylens import __version__
from polylens.errors import InvalidInput, MissingExtra, PolylensError, require

ROOT = Path(__file__).parents[1]
FOLDERS = ("backbone", "clip", "segmentation", "index", "service", "demo", "commands")
A_MODULE_OF = {
    "cpu": "faiss",
    "gpu": "flash_attn",
    "demo": "resvg_py",
    "train": "pyarrow.parquet",
    "embed": "pyarrow.ipc",
    "open_clip": "open_clip",
    "hf": "transformers",
    "eval": "transformers",
    "http": "starlette",
    "otel": "opentelemetry.trace",
    "video": "av",
    "segmentation": "mmseg",
    "ray": "ray",
    "milvus": "pymilvus",
    "test": "hypothesis",
}


@pytest.fixture
def setup_arguments(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What setup.py hands to setuptools."""
    captured: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: captured.update(arguments))
    runpy.run_path(str(ROOT / "setup.py"))
    return captured


def test_version_has_one_source(setup_arguments: dict[str, Any]) -> None:
    assert setup_arguments["version"] == __version__


def test_every_extra_is_covered_here(setup_arguments: dict[str, Any]) -> None:
    assert setup_arguments["extras_require"].keys() == A_MODULE_OF.keys()


@pytest.mark.parametrize(("extra", "module"), A_MODULE_OF.items())
def test_a_missing_extra_names_the_command_that_installs_it(
    extra: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = module.split(".")[0]
    monkeypatch.setitem(sys.modules, package, None)  # python's own way to say: not there
    for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtra) as raised:
        require(module, extra)
    command = f"pip install 'polylens[{extra}]'"
    assert str(raised.value) == f"{package} is not installed; install it with: {command}"
    assert isinstance(raised.value, PolylensError)
    assert isinstance(raised.value, ImportError)


def test_control_an_installed_module_is_returned() -> None:
    assert require("json.decoder", "demo") is sys.modules["json.decoder"]


def test_a_module_that_does_not_load_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_one.py").write_text("raise ImportError('undefined symbol')")
    (tmp_path / "broken_two.py").write_text("import surely_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match="broken_one is installed but does not load .undefined symbol."):
        require("broken_one", "gpu")
    with pytest.raises(MissingExtra, match="broken_two needs surely_not_there, which is not installed"):
        require("broken_two", "gpu")


def test_faiss_comes_as_one_of_two(setup_arguments: dict[str, Any]) -> None:
    def flavours(requirements: list[str]) -> set[str]:
        return {name for r in requirements for name in ("faiss-cpu", "faiss-gpu") if r.startswith(name)}

    extras = setup_arguments["extras_require"]
    assert flavours(setup_arguments["install_requires"]) == set()
    assert flavours(extras["gpu"]) == {"faiss-gpu"}
    assert all(flavours(extras[extra]) == {"faiss-cpu"} for extra in ("cpu", "demo", "test"))
    assert not any(flavours(extras[extra]) for extra in extras.keys() - {"cpu", "gpu", "demo", "test"})


def test_requirements_in_the_code_name_the_extra_that_brings_them(setup_arguments: dict[str, Any]) -> None:
    distributions = importlib.metadata.packages_distributions()
    calls = [
        (f"{file.relative_to(ROOT)}:{node.lineno}", [ast.literal_eval(argument) for argument in node.args])
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("require", "errors.require")
    ]
    for place, (module, extra) in calls:
        requirements = setup_arguments["extras_require"].get(extra)
        assert requirements is not None, f"{place}: no extra is called {extra}"
        brought = {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in requirements}
        known = {name.lower().replace("_", "-") for name in distributions.get(module.split(".")[0], [])}
        assert not known or known & brought, f"{place}: the extra {extra} does not bring {module}"


def test_wrong_input_is_also_a_value_error() -> None:
    assert issubclass(InvalidInput, ValueError)
    assert issubclass(InvalidInput, PolylensError)
