"""From the MODEL of a command line or recipe to something that builds the network.

A source is one function from a name to a `ModelSpec`; `SOURCES` lists them. Sources import their
package only when they are asked.
"""

from __future__ import annotations

import copy
import difflib
import fnmatch
import importlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from widthwise.errors import ConfigError
from widthwise.models.checkpoints import SUFFIXES, example_shape, read_checkpoint
from widthwise.models.shipped import SHIPPED

IMAGENET_SHAPE = (1, 3, 224, 224)


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """How to build one network, and what to feed it."""

    name: str
    """The MODEL string it was found by."""
    factory: Callable[..., nn.Module]
    """Builds the network, with fresh weights unless `has_weights`; takes its own options."""
    input_shape: tuple[int, ...]
    """Shape of one example input, with a batch of one in front."""
    further_shapes: tuple[tuple[int, ...], ...] = ()
    """Shapes of the inputs after the first, for networks that take several."""
    inputs: Callable[[Sequence[Sequence[int]]], tuple[Tensor, ...]] | None = None
    """Makes example inputs of these shapes, for networks that zeros will not do for."""
    mean: tuple[float, ...] | None = None
    """Of the images it was published with, values from 0 to 1, per channel; None if not known."""
    std: tuple[float, ...] | None = None
    """Their deviations."""
    has_weights: bool = False
    """Whether what it builds is trained already."""
    shape_known: bool = True
    """Whether `input_shape` is what the network was made for, or a guess."""

    def example(self, shape: Sequence[int] | None = None) -> Tensor | tuple[Tensor, ...]:
        """Make example inputs: zeros, or what the network says.

        Args:
            shape: Of the input, of a network that takes one; its own if not given.

        Returns:
            The input, or all of them.

        Raises:
            ConfigError: If a shape is given for a network that takes several inputs.
        """
        if not self.further_shapes:
            return torch.zeros(tuple(shape or self.input_shape))
        shapes = (self.input_shape, *self.further_shapes)
        if shape is not None:
            raise ConfigError(
                f"`{self.name}` takes {len(shapes)} inputs, of the shapes "
                f"{', '.join(str(list(each)) for each in shapes)}.\n"
                "Hint: leave out --input; `ww.trace` in Python takes inputs of any shapes."
            )
        if self.inputs is not None:
            return self.inputs(shapes)
        return tuple(torch.zeros(each) for each in shapes)

    def build(self, **options: object) -> nn.Module:
        """Build the network.

        Args:
            **options: Passed to the network's own constructor, which refuses unknown ones.

        Returns:
            A new network, with fresh weights unless `has_weights`.

        Raises:
            ConfigError: If the constructor does not accept the options, or builds something else.
        """
        try:
            model = self.factory(**options)
        except (TypeError, ValueError) as error:
            given = ", ".join(f"{key}={value!r}" for key, value in options.items()) or "none"
            raise ConfigError(
                f"`{self.name}` cannot be built: {error}\n"
                f"Options given: {given}\n"
                "Hint: options are the keyword arguments of the network's constructor; "
                "`--model.options {}` gives none."
            ) from error
        if not isinstance(model, nn.Module):
            raise ConfigError(
                f"`{self.name}` builds a `{type(model).__name__}`, expected a `torch.nn.Module`."
            )
        return model


def resolve(name: str) -> ModelSpec:
    """Find a network by its MODEL string.

    Args:
        name: ``widthwise/NAME``, ``torchvision/NAME``, ``timm/NAME``, ``package.module:factory``,
            the path of a run folder (its shrunk network, with its weights) or of one of its
            networks, such as ``runs/mine/stages/full``, or of a checkpoint that the `spandrel`
            package knows (with its weights).

    Returns:
        How to build it.

    Raises:
        ConfigError: If there is no such network. The nearest names are listed.

    Example:
        >>> resolve("widthwise/resnet20").input_shape
        (1, 3, 32, 32)
    """
    source, slash, rest = name.partition("/")
    if slash and source in SOURCES:
        return SOURCES[source].find(rest)
    if (Path(name) / "plan.json").is_file():
        return _run_folder(Path(name))
    if Path(name).suffix in SUFFIXES and Path(name).is_file():
        return _checkpoint(Path(name))
    if ":" in name:
        return _import_path(name)
    raise ConfigError(_unknown_form(name))


def list_models(pattern: str) -> list[str]:
    """List the MODEL strings that match a glob.

    Args:
        pattern: A glob over ``source/NAME``, such as ``timm/resnet*``.

    Returns:
        Matching MODEL strings in order. A source is only imported if the pattern can match it.

    Example:
        >>> list_models("widthwise/resnet2*")
        ['widthwise/resnet20']
    """
    first = pattern.partition("/")[0]
    names = (
        f"{source}/{name}"
        for source, entry in SOURCES.items()
        if fnmatch.fnmatchcase(source, first)
        for name in entry.names()
    )
    return [name for name in names if fnmatch.fnmatchcase(name, pattern)]


@dataclass(frozen=True, kw_only=True)
class Source:
    """One collection of networks with names."""

    names: Callable[[], Sequence[str]]
    find: Callable[[str], ModelSpec]


def _ours(name: str) -> ModelSpec:
    if name not in SHIPPED:
        raise ConfigError(_unknown_name("widthwise", name))
    shipped = SHIPPED[name]
    return ModelSpec(
        name=f"widthwise/{name}",
        factory=shipped.load(),
        input_shape=shipped.input_shape,
        further_shapes=shipped.further_shapes,
        inputs=shipped.load_example(),
    )


def _our_names() -> list[str]:
    return sorted(SHIPPED)


def _torchvision(name: str) -> ModelSpec:
    from torchvision import models

    if name not in models.list_models():
        raise ConfigError(_unknown_name("torchvision", name))

    def build(**options: Any) -> nn.Module:
        with warnings.catch_warnings():
            # GoogLeNet and Inception announce that their initialisation may change some day.
            warnings.simplefilter("ignore", FutureWarning)
            return models.get_model(name, weights=None, **options)

    # Weight enums know the crop a network was published for (Inception: 299), not the network.
    published = next(iter(models.get_model_weights(name)), None)
    transform = getattr(published, "transforms", None)
    crop = getattr(transform, "keywords", {}).get("crop_size", IMAGENET_SHAPE[-1])
    height, width = (crop, crop) if isinstance(crop, int) else tuple(crop)[-2:]
    return ModelSpec(name=f"torchvision/{name}", factory=build, input_shape=(1, 3, height, width))


def _torchvision_names() -> list[str]:
    from torchvision import models

    return models.list_models()


def _timm(name: str) -> ModelSpec:
    import timm

    if not timm.is_model(name):
        raise ConfigError(_unknown_name("timm", name))

    def build(**options: Any) -> nn.Module:
        return timm.create_model(name, pretrained=False, **options)

    published = timm.get_pretrained_cfg(name, allow_unregistered=False)
    if published is None:
        return ModelSpec(name=f"timm/{name}", factory=build, input_shape=IMAGENET_SHAPE)
    return ModelSpec(
        name=f"timm/{name}",
        factory=build,
        input_shape=(1, *published.input_size),
        mean=tuple(published.mean),
        std=tuple(published.std),
    )


def _timm_names() -> list[str]:
    import timm

    return timm.list_models()


SOURCES: dict[str, Source] = {
    "widthwise": Source(names=_our_names, find=_ours),
    "torchvision": Source(names=_torchvision_names, find=_torchvision),
    "timm": Source(names=_timm_names, find=_timm),
}


def _import_path(name: str) -> ModelSpec:
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"Cannot import `{module_name}` for the model `{name}`: {error}\n"
            "Hint: `package.module:factory` names an importable module; the current folder counts."
        ) from error
    factory = getattr(module, attribute, None)
    if not callable(factory) or isinstance(factory, nn.Module):
        found = "nothing" if factory is None else f"a `{type(factory).__name__}`"
        near = [f"`{n}`" for n in difflib.get_close_matches(attribute, dir(module), n=3)]
        raise ConfigError(
            f"`{name}` must name a class or function that builds the network: found {found}.\n"
            f"Hint: {_did_you_mean(near)}a function without required arguments is enough."
        )
    return ModelSpec(name=name, factory=factory, input_shape=IMAGENET_SHAPE, shape_known=False)


def _run_folder(folder: Path) -> ModelSpec:
    from widthwise import Plan, load

    plan = Plan.load(folder / "plan.json")
    try:
        config = yaml.safe_load(_recipe_of(folder).read_text(encoding="utf-8"))["model"]
        full, options = resolve(config["name"]), config["options"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigError(
            f"`{folder}` has a plan, but no config.yaml that names the full network: {error}\n"
            "Hint: `widthwise.load(folder, model_factory)` builds it from your own class."
        ) from error

    def build() -> nn.Module:
        return load(folder, lambda: full.build(**options))

    tensors = [each for each in plan.inputs["args"] if isinstance(each, dict) and "shape" in each]
    first, *further = ((1, *each["shape"][1:]) for each in tensors)
    return ModelSpec(
        name=str(folder),
        factory=build,
        input_shape=first,
        further_shapes=tuple(further),
        inputs=full.inputs,
        mean=full.mean,
        std=full.std,
        has_weights=True,
    )


def _recipe_of(folder: Path) -> Path:
    """Find the recipe of a run folder, or of the folder of one of its networks."""
    own = folder / "config.yaml"
    inside = not own.is_file() and folder.parent.name == "stages"
    return folder.parent.parent / "config.yaml" if inside else own


def _checkpoint(path: Path) -> ModelSpec:
    found = read_checkpoint(path)
    channels = found.input_channels
    return ModelSpec(
        name=str(path),
        factory=lambda: copy.deepcopy(found.model),
        input_shape=example_shape(found),
        # What it loads takes values from 0 to 1.
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        has_weights=True,
    )


def _unknown_name(source: str, name: str) -> str:
    names = SOURCES[source].names()
    near = [f"`{source}/{n}`" for n in difflib.get_close_matches(name, names, n=3, cutoff=0.5)]
    return (
        f"No model named `{source}/{name}`; {source} has {len(names)}.\n"
        f"Hint: {_did_you_mean(near)}`widthwise trace '{source}/*'` lists all."
    )


def _unknown_form(name: str) -> str:
    everywhere = [f"{source}/{name}" for source, e in SOURCES.items() if name in e.names()]
    near = [f"`{found}`" for found in everywhere]
    return (
        f"No model `{name}`.\n"
        "A model is one of: widthwise/NAME, torchvision/NAME, timm/NAME, package.module:factory, "
        "a run folder with a plan.json, or a checkpoint of a network that spandrel knows.\n"
        f"Hint: {_did_you_mean(near)}`widthwise trace 'torchvision/*'` lists names."
    )


def _did_you_mean(near: Sequence[str]) -> str:
    return f"the nearest names are {', '.join(near)}; " if near else ""
