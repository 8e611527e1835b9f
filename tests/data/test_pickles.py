"""Pickles are read without running them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from widthwise.data.pickles import load_plain_pickle


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "<i8", ">i4", "f4", "?"])
def test_arrays_come_back_as_they_were(protocol: int, order: str, dtype: str) -> None:
    """Arrays of numbers are read from every protocol, in either order of values and bytes."""
    array = np.array(np.arange(6).reshape(2, 3), dtype=dtype, order=order)
    found = load_plain_pickle(pickle.dumps({"data": array}, protocol=protocol))["data"]
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


def test_plain_values_come_back_as_they_were() -> None:
    """Texts, bytes, numbers, lists, tuples and mappings need no names."""
    value = {b"a": [1, 2.5, None, True], "b": ("x", b"y"), "c": {"d": [np.int64(3).item()]}}
    assert load_plain_pickle(pickle.dumps(value)) == value


def test_texts_of_python_2_become_bytes() -> None:
    """A byte string written by Python 2 is not guessed to be in any encoding."""
    assert load_plain_pickle(b"\x80\x02U\x03\xff\x00a.") == b"\xff\x00a"


class _Runs:
    """Unpickling an instance writes a file, in the usual reader."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    """A file that names a function is refused before the function is called."""
    content = pickle.dumps({"data": _Runs(tmp_path / "ran")})
    with pytest.raises(pickle.UnpicklingError, match=r"names `posix\.mkdir`"):
        load_plain_pickle(content)
    assert not (tmp_path / "ran").exists()
    pickle.loads(content)
    assert (tmp_path / "ran").exists(), "the file is harmless, so the test shows nothing"


@pytest.mark.parametrize(
    "value",
    [np.array([object()]), np.array(["a"]), np.array([1j]), np.float64(1), {1, 2}.__class__],
)
def test_whatever_is_not_an_array_of_numbers_is_refused(value: object) -> None:
    """Arrays of objects or texts, classes and numpy scalars are refused."""
    with pytest.raises(pickle.UnpicklingError, match="it "):
        load_plain_pickle(pickle.dumps(value, protocol=2))


@pytest.mark.parametrize("length", range(0, 160, 7))
def test_a_damaged_pickle_is_one_kind_of_error(length: int) -> None:
    """Wherever a file was cut, the error is the same."""
    content = pickle.dumps({"data": np.zeros((2, 3), np.uint8), "labels": [1, 2]}, protocol=2)
    assert length < len(content)
    with pytest.raises(pickle.UnpicklingError):
        load_plain_pickle(content[:length])
