"""Two mends that let mmsegmentation 1.2 run on today's torch without compiled mmcv, and when each can go."""

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

import numpy as np
import torch

from ..errors import InvalidInput, MissingExtra, require

__all__ = ["allow_history", "mend", "stand_in_for_ops"]

OPS = "mmcv._ext"
CORES = ("core", "_core")  # where numpy 1 and numpy 2 keep the two functions that rebuild arrays
BUILTINS = ("builtins", "__builtin__")  # what a pickle of protocol 2 calls them, read and written
DUNDER = "__"
STATISTICS = ("min", "max", "current", "mean")  # those that every log of mmengine has


class MissingOps(ModuleType):
    """A module that has every operation by name; each raises when it is called."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith(DUNDER):
            raise AttributeError(name)

        def operation(*args: Any, **kwargs: Any) -> NoReturn:
            raise MissingExtra(
                f"the operation {name} needs mmcv's compiled code, and mmcv-lite has none; "
                "uninstall mmcv-lite and install mmcv==2.1.0 for your torch and CUDA"
            )

        return operation


def stand_in_for_ops() -> bool:
    """Whether a stand-in for mmcv's compiled operations was needed and is now in place.

    `import mmseg.models` imports `mmcv.ops`, which loads 51 groups of compiled operations by name. None of
    UperNet, FCN or ours calls one. Where the compiled module exists, it is left alone.
    Can go when mmseg imports `mmcv.ops` only in the heads that use it, or mmcv-lite leaves the folder out.
    """
    require("mmcv", "segmentation")
    if isinstance(sys.modules.get(OPS), MissingOps):
        return True
    if OPS in sys.modules or importlib.util.find_spec(OPS) is not None:
        return False
    module = MissingOps(OPS, "Stand-in for mmcv's compiled operations.")
    module.__spec__ = ModuleSpec(OPS, loader=None)  # mmcv asks for a loader to see whether it was compiled
    sys.modules[OPS] = module
    return True


def allow_history() -> None:
    """Nothing; `torch.load(weights_only=True)` then reads the log that mmengine keeps in its checkpoints.

    The log is an object of one class of mmengine's around numpy arrays of numbers, and it names four methods
    of that class by `getattr`. Only these are allowed: the class, numpy's array, dtype and scalar, and for
    `getattr` the function `statistic`; none of them runs code from the file.
    Can go when mmengine allows them itself, or keeps the log as plain lists.
    """
    history_buffer = require("mmengine.logging", "segmentation").HistoryBuffer
    # What numpy writes for an array and for a number, whatever its version calls them.
    rebuild = {"_reconstruct": np.zeros(1).__reduce__()[0], "scalar": np.float64().__reduce__()[0]}
    arrays = [(f, f"numpy.{core}.multiarray.{name}") for name, f in rebuild.items() for core in CORES]
    methods = [(statistic, f"{module}.getattr") for module in BUILTINS]
    kinds = {type(np.dtype(code)) for code in "?bhilqBHILQefd"}
    torch.serialization.add_safe_globals(
        [history_buffer, np.ndarray, np.dtype, *kinds, *arrays, *methods]  # type: ignore[list-item]
    )


def statistic(owner: Any, name: str) -> Callable[..., Any]:
    """The method `name` of mmengine's HistoryBuffer; stands for `getattr` when a checkpoint is read."""
    history_buffer = require("mmengine.logging", "segmentation").HistoryBuffer
    # The class knows its own only once there was an object of it, so not in a process that has just begun.
    known = {each: vars(history_buffer)[each] for each in STATISTICS} | history_buffer._statistics_methods
    if owner is not history_buffer or name not in known:
        raise InvalidInput(f"a checkpoint asks for {name!r} of {owner!r}, expected a statistic of its log")
    method: Callable[..., Any] = known[name]
    return method


def mend() -> None:
    """Nothing; both mends are in place, and mmseg is imported. Calling it again changes nothing."""
    stand_in_for_ops()
    allow_history()
    with warnings.catch_warnings():
        # mmcv warns of an import of its own that it moved: nothing a user could change.
        warnings.simplefilter("ignore", ImportWarning)
        importlib.import_module("mmseg.models")
