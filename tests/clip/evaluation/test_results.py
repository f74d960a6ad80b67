"""Results: clip_benchmark's keys, finished runs skipped, tables, plots, the published rows, two processes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from polylens.cli import app
from polylens.clip.evaluation.plots import robustness
from polylens.clip.evaluation.published import published, published_beside
from polylens.clip.evaluation.results import (
    comma_separated,
    finished,
    long_table,
    markdown,
    read_results,
    result,
    wide_table,
    write_result,
)
from polylens.errors import InvalidInput
from typer.testing import CliRunner

from .command import run

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(layouts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Class folders, captions, and a cache of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    layouts.class_folders(tmp_path / "sorted", {what.replace(" ", "_"): what for what in layouts.classes}, 2)
    layouts.flickr(tmp_path / "flickr30k", "flickr30k_test_karpathy.txt")
    (tmp_path / "one.txt").write_text("{c}\n")
    return tmp_path


def test_a_run_leaves_clip_benchmarks_keys_and_is_not_run_again(folder: Path) -> None:
    command = ["evaluate", "classification", "--dataset", "folder", "--data", folder / "sorted"]
    command += ["--templates", folder / "one.txt", "--out", folder / "results"]
    printed = run(*command)
    (file,) = (folder / "results").iterdir()
    assert file.name == "mini_zeroshot_classification_folder_en.json"
    content = json.loads(file.read_text())
    assert {"dataset", "model", "pretrained", "task", "metrics", "language"} <= content.keys()
    assert content["metrics"].keys() == {"acc1", "acc5", "mean_per_class_recall"}
    assert f"{content['metrics']['acc5']:.4f}" in printed
    file.write_text(json.dumps(content | {"metrics": {"acc1": 0.123456}}))
    assert "0.1235" in run(*command)  # what stands there is taken
    assert "0.1235" not in run(*command, "--again")
    file.write_text(json.dumps(content | {"fingerprint": "another", "metrics": {"acc1": 0.123456}}))
    assert "0.1235" not in run(*command)


def test_retrieval_is_printed_beside_the_published_rows(folder: Path) -> None:
    command = ["evaluate", "retrieval", "--dataset", "flickr30k", "--data", folder / "{dataset}", "--compare"]
    printed = run(*command)
    assert "published: InternVL-G" in printed and "0.9570" in printed and "mini" in printed


def test_two_processes_give_what_one_gives(folder: Path) -> None:
    kinds = (
        ["classification", "--dataset", "folder", "--data", str(folder / "sorted"), "--limit", "15"]
        + ["--templates", str(folder / "one.txt")],
        ["retrieval", "--dataset", "flickr30k", "--data", str(folder / "flickr30k")],
    )
    for kind in kinds:
        run("evaluate", *kind, "--out", folder / "one")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    commands = [["evaluate", *kind, "--out", str(folder / "two")] for kind in kinds]
    program = f"from polylens.cli import app\nfor c in {commands!r}: app(c, standalone_mode=False)"
    torchrun = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env=os.environ | torchrun | {"RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    told = [process.communicate(timeout=250) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert [bool(out) for out, _ in told] == [True, False]  # only the first one prints
    one, two = (read_results([folder / out]) for out in ("one", "two"))
    assert [content["task"] for content in two] == ["zeroshot_classification", "zeroshot_retrieval"]
    for alone, together in zip(one, two, strict=True):
        assert together["metrics"] == pytest.approx(alone["metrics"], abs=1e-6)


def made(model: str, dataset: str, language: str, **metrics: float) -> dict[str, Any]:
    task = "zeroshot_classification"
    return result(model, task=task, dataset=dataset, language=language, metrics=metrics)


RESULTS = [
    made("open_clip:ViT-B-32/laion2b", "imagenet1k", "en", acc1=0.66, acc5=0.9),
    made("open_clip:ViT-B-32/laion2b", "imagenet-r", "en", acc1=0.5, acc5=float("nan")),
    made("mini", "imagenet1k", "en", acc1=0.01),
]


def test_tables(tmp_path: Path) -> None:
    assert RESULTS[0]["model"] == "ViT-B-32" and RESULTS[0]["pretrained"] == "laion2b"
    assert RESULTS[1]["metrics"]["acc5"] is None
    heading, rows = long_table(RESULTS)
    assert heading == ["model", "task", "dataset", "language", "acc1", "acc5"]
    assert rows[1][4:] == ["0.5000", ""]
    heading, rows = wide_table(RESULTS, "acc1")
    assert heading == ["model", "imagenet1k en", "imagenet-r en", "mean"]
    assert rows == [["ViT-B-32 laion2b", "0.6600", "0.5000", "0.5800"], ["mini", "0.0100", "", ""]]
    assert markdown(heading, rows).splitlines()[1:3] == [
        "| --- | ---: | ---: | ---: |",
        "| ViT-B-32 laion2b | 0.6600 | 0.5000 | 0.5800 |",
    ]
    assert comma_separated(heading, rows).splitlines()[2] == "mini,0.0100,,"
    assert robustness(RESULTS) == {"ViT-B-32 laion2b": (0.66, 0.5, 1)}
    with pytest.raises(InvalidInput, match="has the metric 'bleu'"):
        wide_table(RESULTS, "bleu")


def test_the_command_writes_tables_and_pictures(tmp_path: Path) -> None:
    for number, content in enumerate(RESULTS):
        write_result(tmp_path / "results" / f"{number}.json", content)
    options = ["--metric", "acc1", "--published", "--out", tmp_path / "t.md", "--plot", tmp_path / "p.png"]
    run("evaluate", "table", tmp_path / "results", *options, "--robustness", tmp_path / "r.png")
    assert "| published: InternVL-C | 0.8318 | 0.9550 | 0.8934 |" in (tmp_path / "t.md").read_text()
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("p.png", "r.png"))
    done = CliRunner().invoke(app, ["evaluate", "table", str(tmp_path / "results"), "--out", "t.txt"])
    assert done.exit_code == 2 and "ends with .md or .csv" in done.output


def test_a_damaged_result_is_run_again_and_named(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    write_result(file, RESULTS[0])
    assert finished(file) == RESULTS[0] and finished(file, fingerprint="f") is None
    assert finished(tmp_path / "none.json") is None
    for text, message in (
        ("{", "cannot be read"),
        ("[]", "is no result"),
        ('{"metrics": 1}', "is no result"),
    ):
        file.write_text(text)
        assert finished(file) is None
        with pytest.raises(InvalidInput, match=message):
            read_results([tmp_path])
    with pytest.raises(InvalidInput, match="no results"):
        read_results([])


def test_published_rows() -> None:
    rows = published()
    assert len({(row.system, row.task, row.dataset, row.language) for row in rows}) == len(rows)
    assert all(0 < value < 2 for row in rows for value in row.metrics.values())
    (best,) = (row for row in rows if row.system == "InternVL-C" and row.dataset == "cifar10")
    assert best.metrics["acc1"] == 0.9935
    chinese = published_beside("zeroshot_classification", "imagenet1k", "zh")
    assert {"InternVL-C", "AltCLIP-ViT-L", "OpenCLIP-XLM-R-H"} <= {row.system for row in chinese}
    assert published_beside("zeroshot_retrieval", "xtd10", "ja")
