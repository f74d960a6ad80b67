"""The connection to Ray: the cluster that RAY_ADDRESS names, or one of this machine that ends with us."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from ..errors import require

LOCAL_STORE = 200 << 20  # bytes of Ray's object store, where Ray is started here: only small things pass


@contextmanager
def connected() -> Iterator[ModuleType]:
    """The module `ray`, connected; the connection ends with the block unless there was one before."""
    ray = require("ray", "ray")
    if ray.is_initialized():
        yield ray
        return
    # Without "local" Ray would join a cluster of somebody else that happens to run on this machine.
    alone = {"address": "local", "include_dashboard": False, "object_store_memory": LOCAL_STORE}
    ray.init(log_to_driver=False, **({} if os.environ.get("RAY_ADDRESS") else alone))
    try:
        yield ray
    finally:
        ray.shutdown()
