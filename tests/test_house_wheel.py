"""The wheel holds every tracked file of the package folders and nothing else, and imports by itself."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_SHIPPED = {".ci", "benchmarks", "deploy", "docs", "recipes", "scripts", "tests"}
DATA_AT_THE_ROOT = {"py.typed"}


def run(*command: str | Path, cwd: Path) -> str:
    # PYTHONPATH may lead to the source.
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=alone)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """Every file that git tracks and that is there, relative to the root."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("asks git which files belong to the package")
    return [name for name in run("git", "ls-files", cwd=ROOT).splitlines() if (ROOT / name).is_file()]


def expected_in_wheel(tracked: list[str]) -> set[str]:
    """The names that the wheel must have, given every file that git tracks."""
    shipped = set()
    for name in tracked:
        folder, slash, _ = name.partition("/")
        if slash:
            belongs = folder not in NOT_SHIPPED
        else:
            belongs = (name.endswith(".py") and name != "setup.py") or name in DATA_AT_THE_ROOT
        if belongs:
            shipped.add(f"polylens/{name}")
    return shipped


def differences(in_wheel: list[str], tracked: list[str]) -> tuple[list[str], list[str]]:
    """What the wheel lacks, and what it has too much; its own metadata aside."""
    found = {name for name in in_wheel if ".dist-info/" not in name}
    wanted = expected_in_wheel(tracked)
    return sorted(wanted - found), sorted(found - wanted)


@pytest.fixture(scope="module")
def wheel(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the source distribution, which is built from a copy of the tracked files."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("out")
    for name in tracked:
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, cwd=source)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


def test_wheel_holds_exactly_the_package(names: list[str], tracked: list[str]) -> None:
    assert differences(names, tracked) == ([], [])


def test_control_a_dropped_package_and_a_stray_file_are_noticed(
    names: list[str], tracked: list[str]
) -> None:
    doctored = [name for name in names if not name.startswith("polylens/clip/training/")]
    missing, extra = differences([*doctored, "polylens/tests/test_house_wheel.py"], tracked)
    assert "polylens/clip/training/__init__.py" in missing
    assert extra == ["polylens/tests/test_house_wheel.py"]


def test_every_module_imports_from_the_installed_wheel(wheel: Path, names: list[str], tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=tmp_path)
    python = venv / "bin" / "python"
    install = ("-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    run(sys.executable, *install, cwd=tmp_path)
    # The dependencies are borrowed from the environment that runs the tests. A folder named in a .pth comes
    # after the new environment's own, and its own .pth files (an editable polylens!) are not read.
    site = next(venv.glob("lib/python*/site-packages"))
    borrowed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "borrowed.pth").write_text("\n".join(borrowed))

    modules = [name.removesuffix(".py").replace("/", ".") for name in names if name.endswith(".py")]
    program = (
        "import importlib, polylens\n"
        f"for name in {modules!r}: importlib.import_module(name.removesuffix('.__init__'))\n"
        "print(polylens.__file__)\n"
    )
    origin = run(python, "-c", program, cwd=tmp_path)
    assert Path(origin.strip()).is_relative_to(site)
    assert "polylens" in run(venv / "bin" / "polylens", "--version", cwd=tmp_path)
