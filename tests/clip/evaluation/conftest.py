"""What the tests of evaluations share: the writer of tiny data sets, and the model inside the package."""

import polylens
import pytest

from .layouts import Layouts


@pytest.fixture(scope="session")
def layouts() -> Layouts:
    return Layouts()


@pytest.fixture(scope="session")
def mini() -> polylens.Encoder:
    """The model inside the package, with the preprocessing of classification."""
    return polylens.load("mini", device="cpu", preprocess="classification")
