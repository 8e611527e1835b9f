"""What every stage of a run starts from: the data, the full network, and their graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.cost import Budget
from widthwise.data import ImageClasses, load_dataset
from widthwise.data.batches import derived_seed
from widthwise.errors import ConfigError
from widthwise.models import resolve
from widthwise.recipes.config import BudgetConfig, DataConfig, ModelConfig

EXAMPLES = 4
"""Images on which networks are traced and cuts are proven."""


class Setting:
    """The network and the data of a recipe, found to fit together.

    Args:
        model: Names the network.
        data: Names the images.
        seed: Decides the fresh weights.

    Raises:
        ConfigError: If either does not exist, or the network does not take these images or does
            not give these classes.
    """

    def __init__(self, model: ModelConfig, data: DataConfig, *, seed: int) -> None:
        self.model = model
        self.seed = seed
        self.data = load_data(data)
        self._spec = resolve(model.name)
        self._check(data.name)

    def build(self) -> nn.Module:
        """Build the full network, with whatever weights the generator gives."""
        return self._spec.build(**self.model.options)

    def fresh(self) -> nn.Module:
        """Build the full network; every stage that starts from scratch has these weights."""
        torch.manual_seed(derived_seed(self.seed))
        return self.build()

    @cached_property
    def example(self) -> Tensor:
        """A few training images, normalised as in training. Shape ``[n, c, h, w]``."""
        images = self.data.train.first(EXAMPLES).to(torch.float32)
        mean, std = (
            torch.tensor(values).reshape(-1, 1, 1) for values in (self.data.mean, self.data.std)
        )
        return (images - mean) / std

    @cached_property
    def graph(self) -> ww.ChannelGraph:
        """The channel graph of the full network."""
        return ww.trace(self.fresh(), self.example)

    def _check(self, data_name: str) -> None:
        channels, height, width = self.data.image_shape
        classes = len(self.data.classes)
        problem = (
            f"`{self.model.name}` does not fit the data set `{data_name}` of "
            f"{channels}x{height}x{width} images in {classes} classes"
        )
        hint = (
            "Hint: set the network's constructor arguments in `model.options`, such as "
            f"`--model.options.in_channels {channels}` and `--model.options.num_classes {classes}`."
        )
        network = self.fresh().eval()
        try:
            with torch.no_grad():
                outputs = network(self.example)
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"{problem}: {error}\n{hint}") from error
        if not isinstance(outputs, Tensor) or outputs.shape[1:] != (classes,):
            found = list(outputs.shape[1:]) if isinstance(outputs, Tensor) else type(outputs)
            raise ConfigError(f"{problem}: expected outputs [{classes}], got {found}.\n{hint}")


def load_data(config: DataConfig) -> ImageClasses:
    """Load the data set of a recipe.

    Args:
        config: Names it, and says where it is.

    Returns:
        The data set.

    Raises:
        ConfigError: If there is no such data set.
        DataError: If it is not there, or damaged.
    """
    return load_dataset(
        config.name,
        folder=None if config.folder is None else Path(config.folder),
        download=config.download,
        image_size=config.image_size,
    )


def budgets(config: BudgetConfig) -> list[Budget]:
    """Turn the budget of a recipe into budgets.

    Args:
        config: At least one of its fields is set.

    Returns:
        All of which must be met.
    """
    given: list[tuple[Callable[[float | str], Budget], float | str | None]] = [
        (ww.Macs, config.macs),
        (ww.Params, config.params),
        (ww.Memory, config.memory),
    ]
    return [kind(limit) for kind, limit in given if limit is not None]


def redrawn(network: nn.Module) -> nn.Module:
    """Draw fresh weights, because slices of a wider layer's have the wrong scale for this one.

    Args:
        network: Changed in place, by the ``reset_parameters`` of its modules.

    Returns:
        The same network.
    """
    # From the inside out: a network with an initialisation of its own has the last word.
    for module in reversed(list(network.modules())):
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return network
