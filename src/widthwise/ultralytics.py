"""A narrow network in ultralytics: its own trainer, validator, exports and files.

The package ultralytics is imported where it is needed. Its licence is AGPL-3.0.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from widthwise.arguments import described, network_in
from widthwise.errors import ConfigError

_WAY = "pass trainer=widthwise.ultralytics.trainer(yolo) to yolo.train(...)"


def with_network(yolo: Any, small: nn.Module) -> Any:
    """Put a narrow network into a `YOLO` like the one that it was cut from.

    What comes back validates, predicts, exports and saves as any other. To train it, pass
    `trainer`. Its network notes in its ``yaml`` that it is narrow: ultralytics builds networks anew
    from there, at full width, and stops with a word about the trainer instead.

    Args:
        yolo: A `YOLO` or `RTDETR` with the full network; not changed.
        small: The narrow network, as `shrink`, `compress` or a search returned it; not copied.

    Returns:
        A new object of the same class as `yolo`.

    Raises:
        ConfigError: If `small` is not a network of the same class as the one in `yolo`.

    Example::

        yolo = YOLO("best.pt")
        small, plan = ww.compress(yolo, batches, budget=ww.Macs(0.5))
        narrow = with_network(yolo, small)
        narrow.train(data="mine.yaml", epochs=50, trainer=trainer(narrow))
        narrow.save("narrow.pt")
    """
    line = "with_network(yolo, small)"
    full, small = network_in(yolo, line), network_in(small, line)
    if full is yolo or type(small) is not type(full):
        raise ConfigError(
            f"Expected a `YOLO` and a narrow network of the class that is in it, got "
            f"{described(yolo)} and {described(small)}.\n"
            f"Hint: write `{line}`, `small` being what `ww.shrink(yolo, plan)` returned."
        )
    _note_that_it_is_narrow(small)
    new = copy.copy(yolo)
    # A copied module shares its tables with the first.
    new._modules = {"model": small}
    new.overrides = dict(yolo.overrides)
    new.callbacks = {event: list(called) for event, called in yolo.callbacks.items()}
    new.predictor = new.trainer = new.metrics = new.ckpt_path = None
    # Its `train` takes the network that is there only where this is not empty.
    new.ckpt = {"model": small}
    return new


def trainer(yolo: Any) -> type:
    """Return the trainer of a `YOLO`, made to train the network that it is given.

    The trainers of ultralytics build a network from a list of layers and copy the weights that fit;
    of a narrow network hardly any do. This one is theirs in everything else: EMA, several
    processes, resuming, files.

    Args:
        yolo: What is to be trained, or the trainer class that you would use.

    Returns:
        A class to be passed as ``yolo.train(trainer=...)``. Its `get_model` raises a `ConfigError`
        where no network is given, and where the head has not as many classes or keypoints as the
        data.

    Raises:
        ConfigError: If `yolo` has no trainer.

    Example::

        narrow = YOLO("narrow.pt")
        narrow.train(data="mine.yaml", epochs=50, trainer=trainer(narrow))
    """
    base = yolo if isinstance(yolo, type) else _usual_trainer(yolo)

    # The framework asks for a class of its own, and processes that it starts unpickle it.
    class NarrowTrainer(base):  # type: ignore[valid-type,misc]
        def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
            if weights is None:
                raise ConfigError(
                    "A narrow network cannot be built from a list of layers.\n"
                    "Why: its widths are nowhere but in the network itself.\n"
                    'Hint: train `YOLO("narrow.pt")`, or what `with_network` returned, and leave '
                    "out `pretrained=False`."
                )
            _check_fits(weights, self.data)
            # A loss that was made for other settings, and perhaps on another device.
            weights.criterion = None
            return weights

    return NarrowTrainer


def _usual_trainer(yolo: Any) -> type:
    try:
        found: type = yolo.task_map[yolo.task]["trainer"]
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(
            f"Expected a `YOLO` or a trainer class of ultralytics, got {described(yolo)}.\n"
            "Hint: write `yolo.train(trainer=trainer(yolo), ...)`."
        ) from error
    return found


def _note_that_it_is_narrow(small: nn.Module) -> None:
    layers: dict[str, Any] = vars(small)["yaml"]
    # Networks are built at a scale that is looked up here: the error of a scale that is not there
    # consists of its name.
    layers["scales"] = layers.get("scales") or {"full": [1.0, 1.0, float("inf")]}
    layers["scale"] = f"narrow, and would be built at full width: {_WAY}"
    # What exports are named after; with the name of the full network they would replace its own.
    vars(small)["pt_path"] = "narrow.pt"


def _check_fits(network: Any, data: dict[str, Any]) -> None:
    head = network.model[-1]
    wanted = {"nc": data["nc"], "kpt_shape": data.get("kpt_shape")}
    for name, value in wanted.items():
        has = getattr(head, name, None)
        if has is not None and value is not None and list(_plain(has)) != list(_plain(value)):
            raise ConfigError(
                f"The head of this network has `{name}` {has}, the data {value}.\n"
                "Why: a narrow network is trained as it is, not built anew for other data.\n"
                "Hint: train the full network on these data first, then cut it."
            )


def _plain(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]
