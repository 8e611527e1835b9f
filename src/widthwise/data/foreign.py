"""Data sets that torchvision and timm know by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any

from widthwise.data.arrays import ImageClasses
from widthwise.data.source import WHICH_FOLDER, Source, download
from widthwise.data.wrapping import wrapped
from widthwise.errors import ConfigError, DataError

_TRAIN = ("train", "trainval", "train-standard")
_TEST = ("test", "val", "valid")


def load_torchvision(name: str, source: Source) -> ImageClasses:
    """Load a data set by its name in `torchvision.datasets`.

    Args:
        name: A class that gives an image and its class number, and has a training and a test split.
        source: The folder handed to it as its root.

    Returns:
        Splits in memory if all images have one size and no other is asked for; cut on demand
        otherwise.

    Raises:
        ConfigError: If torchvision has no such set, or it is of another kind.
        DataError: If it is not there or damaged.
    """
    from torchvision import datasets

    full = f"torchvision/{name}"
    if name not in datasets.__all__:
        near = difflib.get_close_matches(name, datasets.__all__, n=3, cutoff=0.5)
        hint = f"the nearest are {', '.join(near)}; " if near else ""
        raise ConfigError(
            f"torchvision has no data set `{name}`.\nHint: {hint}names are written as in "
            "`torchvision.datasets`, such as `torchvision/FashionMNIST`."
        )
    kind = getattr(datasets, name)
    train, test = (_torchvision_split(full, kind, source, train=train) for train in (True, False))
    return wrapped(full, train, test, source)


def load_timm(name: str, source: Source) -> ImageClasses:
    """Load a data set by its name for `timm.data.create_dataset`.

    Args:
        name: ``torch/NAME`` or ``hfds/NAME``; what is streamed has no order to draw from.
        source: The folder handed to it as its root.

    Returns:
        As of `load_torchvision`.

    Raises:
        ConfigError: If timm has no such set, or it is of another kind.
        DataError: If it is not there or damaged.
    """
    full = f"timm/{name}"
    prefix = name.partition("/")[0]
    if prefix not in ("torch", "hfds"):
        raise ConfigError(
            f"The data set `{full}` cannot be used: expected `timm/torch/NAME` or "
            "`timm/hfds/NAME`.\n"
            "Why: batches are drawn by number, and streamed sets cannot be.\n"
            "Hint: class folders are read by `imagefolder`."
        )
    if prefix == "hfds" and not source.download:
        raise ConfigError(
            f"The data set `{full}` may need a download, which is not allowed.\n"
            "Why: the library behind it downloads by itself whatever its cache lacks.\n"
            "Hint: allow it with `--task.download true`."
        )
    train = _timm_split(full, name, source, ("train",))
    test = _timm_split(full, name, source, ("validation", "test"))
    return wrapped(full, train, test, source)


def _torchvision_split(full: str, kind: Any, source: Source, *, train: bool) -> Any:
    parameters = inspect.signature(kind).parameters
    choices: list[dict[str, Any]] = []
    if "train" in parameters:
        choices = [{"train": train}]
    elif "split" in parameters:
        choices = [{"split": name} for name in (_TRAIN if train else _TEST)]
    bases = (base.__init__ for base in kind.__mro__)
    can = any("download" in inspect.signature(init).parameters for init in bases)
    refused: Exception | None = None
    for choice in choices:
        try:
            return kind(source.folder, **choice)
        # Arguments that only the user of the class knows, or a split of another name.
        except (TypeError, ValueError) as error:
            if isinstance(error, ValueError) and "Unknown value" not in str(error):
                raise _missing(full, source, error, can_download=can) from error
            refused = error
        except ImportError as error:
            raise _lacks_package(full, error) from error
        except (RuntimeError, OSError) as error:
            if not (can and source.download):
                raise _missing(full, source, error, can_download=can) from error
            download(full, source.folder, partial(kind, source.folder, download=True, **choice))
            return kind(source.folder, **choice)
    reason = f" ({refused})" if refused else ""
    raise ConfigError(
        f"The data set `{full}` has no {'training' if train else 'test'} split that can be had by "
        f"name{reason}.\n"
        "Hint: put its images into class folders, `train/CLASS` and `val/CLASS`, and use "
        "`imagefolder`."
    )


def _timm_split(full: str, name: str, source: Source, splits: Sequence[str]) -> Any:
    from timm.data.dataset_factory import create_dataset

    refused: Exception | None = None
    for split in splits:
        make = partial(create_dataset, name, root=str(source.folder), split=split)
        try:
            return make()
        except ImportError as error:
            raise _lacks_package(full, error) from error
        except (AssertionError, ValueError) as error:
            refused = error
        except (RuntimeError, OSError) as error:
            if not source.download:
                raise _missing(full, source, error, can_download=True) from error
            download(full, source.folder, partial(make, download=True))
            return make()
    raise ConfigError(
        f"timm has no data set `{full}` with a split `{'` or `'.join(splits)}`: {refused}.\n"
        "Hint: names are those of `timm.data.create_dataset`, such as `timm/torch/cifar10`."
    ) from refused


def _missing(full: str, source: Source, error: Exception, *, can_download: bool) -> DataError:
    """Libraries raise the same errors for files that are not there and for damaged ones."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    get = (
        "let it be downloaded with `--task.download true`."
        if can_download
        else "it has to be put there by hand, as its library describes."
    )
    return DataError(
        f"The data set `{full}` is not in `{source.folder.absolute()}`, or its files there are "
        f"damaged: {reason.rstrip('.')}.\n"
        f"Hint: {get} {WHICH_FOLDER}"
    )


def _lacks_package(full: str, error: ImportError) -> DataError:
    return DataError(
        f"The data set `{full}` needs a package that is not installed: {error}.\n"
        f"Hint: `pip install {error.name or 'it'}`."
    )
