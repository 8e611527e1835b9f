"""Read pickled arrays and plain values, and nothing else.

A pickle is a program: the usual reader imports and calls whatever the file names. Published data
sets come as pickles from anywhere, so here every array is built from its bytes by this file, and a
pickle that names anything but an array is refused.
"""

from __future__ import annotations

import io
import pickle
import re
from typing import Any

import numpy as np

_NUMBERS = re.compile(r"[biuf][1248]")


class PlainUnpickler(pickle.Unpickler):
    """Knows arrays of numbers; plain values need no names."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("numpy", "ndarray"): _PickledArray,
            ("numpy", "dtype"): _PickledDtype,
            # How Python 3 writes bytes in the protocols of Python 2.
            ("_codecs", "encode"): _encode,
        }
        # The package inside numpy was renamed in version 2.
        for core in ("numpy.core", "numpy._core"):
            known[f"{core}.multiarray", "_reconstruct"] = _reconstruct
            known[f"{core}.numeric", "_frombuffer"] = _frombuffer
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it names `{module}.{name}`, which is not an array")
        return known[module, name]


def load_plain_pickle(content: bytes) -> Any:
    """Read a pickle of arrays, texts, numbers, lists, tuples and mappings.

    Texts written by Python 2 become bytes.

    Args:
        content: The file.

    Returns:
        What was pickled.

    Raises:
        pickle.UnpicklingError: If it is damaged or holds anything else.

    Example:
        >>> load_plain_pickle(pickle.dumps({"data": np.arange(3)}))
        {'data': array([0, 1, 2])}
        >>> load_plain_pickle(pickle.dumps(print))
        Traceback (most recent call last):
        ...
        _pickle.UnpicklingError: it names `builtins.print`, which is not an array
    """
    try:
        return _finished(PlainUnpickler(io.BytesIO(content), encoding="bytes").load())
    except pickle.UnpicklingError:
        raise
    # Damaged pickles make the reader raise almost anything.
    except Exception as error:
        raise pickle.UnpicklingError(f"{type(error).__name__}: {error}") from error


class _PickledDtype:
    """A dtype of numbers: its letter and size, and in its state the order of the bytes."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        self.code = _text(code).lstrip("<>|=")
        self.order = "<"
        if not _NUMBERS.fullmatch(self.code):
            raise pickle.UnpicklingError(
                f"it holds an array of dtype `{self.code}`, not of numbers"
            )

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = _text(state[1])

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


class _PickledArray:
    """An array, once its state has been read."""

    def __init__(self) -> None:
        self.array = np.zeros(0, dtype=np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, by_column, content = state
        self.array = _array(content, dtype, shape, "F" if by_column else "C")


def _reconstruct(*_: object) -> _PickledArray:
    return _PickledArray()


def _frombuffer(
    content: bytes, dtype: _PickledDtype, shape: tuple[int, ...], order: str | bytes, *_: object
) -> np.ndarray[Any, Any]:
    return _array(content, dtype, shape, _text(order))


def _array(content: Any, dtype: Any, shape: Any, order: str) -> np.ndarray[Any, Any]:
    if not isinstance(dtype, _PickledDtype) or not isinstance(content, bytes | bytearray):
        raise pickle.UnpicklingError("it holds an array that is not one of numbers")
    values = np.frombuffer(content, dtype=dtype.numpy())
    return values.reshape(shape, order="F" if order == "F" else "C")


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it holds bytes in the encoding `{encoding}`")
    return text.encode("latin-1")


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _finished(value: Any) -> Any:
    if isinstance(value, _PickledArray):
        return value.array
    if isinstance(value, dict):
        return {key: _finished(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_finished(item) for item in value)
    return value
