"""The two mends: each does what it says, only where it is needed."""

import importlib
import io
import sys
import types

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from polylens.errors import InvalidInput, MissingExtra
from polylens.segmentation.mends import (
    OPS,
    MissingOps,
    allow_history,
    mend,
    stand_in_for_ops,
    statistic,
)

compiled = pytest.mark.skipif(
    not isinstance(sys.modules.get(OPS), MissingOps), reason="mmcv is compiled in this environment"
)


@compiled
def test_an_operation_says_what_it_needs_when_it_is_called() -> None:
    ops = importlib.import_module("mmcv.ops")
    boxes, scores = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0])
    with pytest.raises(MissingExtra, match="the operation nms needs mmcv's compiled code"):
        ops.nms(boxes, scores, 0.5)


@compiled
def test_mmcv_sees_that_nothing_was_compiled() -> None:
    assert not importlib.import_module("mmcv.utils.ext_loader").check_ops_exist()


@compiled
def test_control_without_the_stand_in_there_is_no_such_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, OPS)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(OPS)
    assert stand_in_for_ops()
    assert stand_in_for_ops()  # again: still in place
    importlib.import_module(OPS)


def test_the_compiled_module_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = types.ModuleType(OPS)
    monkeypatch.setitem(sys.modules, OPS, real)
    assert not stand_in_for_ops()
    assert sys.modules[OPS] is real


def history() -> io.BytesIO:
    buffer = HistoryBuffer([1.5, 2.5], [1, 1])
    file = io.BytesIO()
    torch.save({"loss": buffer, "best": np.float64(0.5), "scores": np.arange(3, dtype=np.float32)}, file)
    file.seek(0)
    return file


def test_a_log_is_read_back() -> None:
    loaded = torch.load(history(), weights_only=True)
    assert loaded["loss"].mean() == 2.0
    assert loaded["best"] == 0.5
    assert loaded["scores"].tolist() == [0, 1, 2]


def test_a_log_is_read_back_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the class of the log has not been used, and knows no statistics yet."""
    file = history()
    monkeypatch.setattr(HistoryBuffer, "_statistics_methods", {})
    assert torch.load(file, weights_only=True)["loss"].mean() == 2.0


@pytest.mark.parametrize("name", ["__init__", "__subclasses__", "update"])
def test_nothing_else_of_the_class_is_given(name: str) -> None:
    with pytest.raises(InvalidInput, match="expected a statistic of its log"):
        statistic(HistoryBuffer, name)
    with pytest.raises(InvalidInput, match="expected a statistic of its log"):
        statistic(torch, "mean")


def test_control_torch_refuses_it_without_the_mend() -> None:
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with pytest.raises(Exception, match="(?i)weights.only"):
            torch.load(history(), weights_only=True)
    finally:
        torch.serialization.add_safe_globals(before)
        allow_history()


class Stranger:
    pass


def test_other_classes_are_still_refused() -> None:
    mend()
    file = io.BytesIO()
    torch.save({"x": Stranger()}, file)
    file.seek(0)
    with pytest.raises(Exception, match="(?i)weights.only"):
        torch.load(file, weights_only=True)
