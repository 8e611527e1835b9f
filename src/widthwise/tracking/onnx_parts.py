"""Tracking with the two ONNX files of an exported siamese network, in onnxruntime."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from widthwise.errors import ConfigError, DataError

_TEMPLATE, _SEARCH = ["crop"], ["template", "crop"]
"""Names of the inputs of the two files."""


class OnnxParts:
    """The two halves of a siamese network, as `widthwise.tracking.siamese.Scoring`.

    The search file does all that a frame costs, features and comparison. So `features` computes
    those of templates, and hands search crops to `compare` as they are.

    Args:
        template: File that maps crops of a target to features.
        search: File that maps the features of one target, and search crops, to scores.
        threads: CPU threads of onnxruntime.

    Raises:
        ConfigError: If onnxruntime is not installed.
        DataError: If a file is missing or damaged, or is not that part.
    """

    def __init__(self, template: Path, search: Path, *, threads: int = 1) -> None:
        self._template = _session(Path(template), _TEMPLATE, "template", threads)
        self._search = _session(Path(search), _SEARCH, "search", threads)
        self._side: int = self._template.get_inputs()[0].shape[-1]

    def features(self, crop: Tensor) -> Tensor:
        """Compute the features of templates.

        Args:
            crop: Values of 0 to 1, shape ``[b, 3, s, s]``.

        Returns:
            Features, if the side is that of templates; otherwise the crops.
        """
        if crop.shape[-1] != self._side:
            return crop
        return torch.from_numpy(self._template.run(None, {"crop": crop.contiguous().numpy()})[0])

    def compare(self, template: Tensor, search: Tensor) -> Tensor:
        """Compute scores.

        Args:
            template: Features of one target, shape ``[b, c, k, k]``: the same one ``b`` times.
            search: Search crops, shape ``[b, 3, s, s]``.

        Returns:
            Shape ``[b, 1, n, n]``.
        """
        feed = {"template": template[:1].contiguous().numpy(), "crop": search.contiguous().numpy()}
        return torch.from_numpy(self._search.run(None, feed)[0])


def _session(path: Path, inputs: list[str], part: str, threads: int) -> Any:
    if importlib.util.find_spec("onnxruntime") is None:
        raise ConfigError(
            "Tracking with ONNX files needs `onnxruntime`, not installed here.\n"
            "Hint: `pip install 'widthwise[export]'` installs it."
        )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Errors only: it warns of devices that are not there.
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    # onnxruntime's own errors have no common class.
    except Exception as error:
        said = str(error).strip().splitlines()[0]
        raise DataError(
            f"`{path}` cannot be loaded: {said}\n"
            "Hint: `widthwise export RUN` of a tracking run writes the two files."
        ) from error
    names = [entry.name for entry in session.get_inputs()]
    if names != inputs:
        raise DataError(
            f"`{path}` is not the {part} part of a tracker: its inputs are {names}, expected "
            f"{inputs}.\n"
            "Hint: `widthwise export RUN` of a tracking run writes NAME-template.onnx and "
            "NAME-search.onnx; give them in this order."
        )
    return session
