"""What runs on a replica of Ray Serve, and the settings for it."""

import pytest
from polylens.errors import InvalidInput
from polylens.service.replicas import Replica
from polylens.service.settings import Settings


def test_a_replica_refuses_another_model():
    with pytest.raises(InvalidInput, match="expected abc"):
        Replica({"name": "mini"}, "abc")


@pytest.mark.parametrize(
    "bad",
    [{"engine": "dask"}, {"replicas": 0}, {"replica_gpus": -1.0}, {"engine": "ray", "quantize": "int8"}],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(InvalidInput):
        Settings(**bad)
