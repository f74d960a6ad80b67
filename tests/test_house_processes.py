"""Nothing of ours forks: gRPC, FAISS and OpenMP have threads, and a fork beside threads may hang for ever."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("backbone", "clip", "commands", "demo", "index", "proto", "segmentation", "service")
FILES = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
FORKS = {"os.fork", "os.forkpty", "pty.fork"}
POOLS = {"ProcessPoolExecutor", "multiprocessing.Process", "multiprocessing.Pool"}


def forks(text: str) -> Iterator[str]:
    """One sentence for each way in which the source may fork."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        function, named = ast.unparse(node.func), {one.arg: ast.unparse(one.value) for one in node.keywords}
        said = [*map(ast.unparse, node.args), *named.values()]
        if function in FORKS or "preexec_fn" in named:
            yield f"line {node.lineno}: {function} forks"
        elif function.endswith(("get_context", "set_start_method")) and "'spawn'" not in said:
            yield f"line {node.lineno}: {function} without 'spawn'"
        elif any(function.endswith(pool) for pool in POOLS) and "mp_context" not in named:
            yield f"line {node.lineno}: {function} starts processes in the system's own way"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_forks(file: Path) -> None:
    assert list(forks(file.read_text())) == []


@pytest.mark.parametrize(
    "text",
    [
        "os.fork()",
        "subprocess.Popen(['a'], preexec_fn=f)",
        "multiprocessing.get_context('fork')",
        "multiprocessing.get_context()",
        "futures.ProcessPoolExecutor(4)",
        "multiprocessing.Process(target=f)",
    ],
)
def test_control_forks_are_seen(text: str) -> None:
    assert len(list(forks(text))) == 1


def test_spawned_processes_are_none() -> None:
    text = "context = multiprocessing.get_context('spawn')\nProcessPoolExecutor(2, mp_context=context)"
    assert list(forks(text)) == []
