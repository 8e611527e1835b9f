"""From the name of a recipe and command-line overrides to a checked configuration."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from jsonargparse import ArgumentParser, set_parsing_settings

from widthwise.errors import ConfigError
from widthwise.recipes.config import SearchRecipe

_HELP = "`widthwise search {} --help` lists every option."


def recipe_names() -> list[str]:
    """List the recipes that come with Widthwise."""
    folder = resources.files("widthwise.recipes")
    return sorted(
        f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")
    )


def recipe_path(recipe: str) -> Path:
    """Find the YAML file of a recipe.

    Args:
        recipe: Name of a recipe that comes with Widthwise, or the path of a YAML file.

    Returns:
        Its file.

    Raises:
        ConfigError: If there is none.
    """
    if recipe in recipe_names():
        return Path(str(resources.files("widthwise.recipes") / f"{recipe}.yaml"))
    path = Path(recipe)
    if path.is_file():
        return path
    near = difflib.get_close_matches(recipe, recipe_names(), n=1)
    hint = f"the nearest name is `{near[0]}`; " if near else ""
    known = ", ".join(f"`{name}`" for name in recipe_names())
    raise ConfigError(
        f"No recipe `{recipe}`.\nHint: {hint}recipes are {known}, or the path of a YAML file."
    )


def recipe_parser(recipe: str, *, prog: str) -> ArgumentParser:
    """Make a parser whose defaults are the values of a recipe.

    Args:
        recipe: See `recipe_path`.
        prog: Command to show in the help.

    Returns:
        A parser with one option per field, raising `argparse.ArgumentError` on wrong input.

    Raises:
        ConfigError: If the file cannot be read, has unknown or missing keys, or wrong values.
    """
    values = _values(recipe_path(recipe))
    # Help texts are the docstrings under the fields.
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(
        prog=prog, usage="%(prog)s [--KEY VALUE ...]", exit_on_error=False, allow_abbrev=False
    )
    parser.add_class_arguments(SearchRecipe)
    try:
        # Defaults are not checked, so this has to be.
        parser.parse_object(values)
    except (argparse.ArgumentError, TypeError) as error:
        raise ConfigError(f"The recipe `{recipe}` is wrong. {error}") from error
    parser.set_defaults(dict(_leaves(values, SearchRecipe)))
    return parser


def load_recipe(recipe: str, overrides: Sequence[str] = ()) -> SearchRecipe:
    """Read a recipe.

    Args:
        recipe: Name of a recipe, or the path of a YAML file.
        overrides: Options such as ``["--converge.epochs", "3"]``.

    Returns:
        The complete configuration.

    Raises:
        ConfigError: If a key is unknown or missing, or a value is wrong.

    Example:
        >>> load_recipe("digits", ["--converge.epochs=3"]).converge.epochs
        3
    """
    parser = recipe_parser(recipe, prog=f"widthwise search {recipe}")
    try:
        values = parser.instantiate(parser.parse_args(list(overrides)))
    except (argparse.ArgumentError, TypeError) as error:
        raise ConfigError(f"Recipe `{recipe}`: {error}\nHint: {_HELP.format(recipe)}") from error
    return SearchRecipe(**{f.name: values[f.name] for f in fields(SearchRecipe)})


def _values(path: Path) -> Mapping[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the recipe `{path}`: {error}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"The recipe `{path}` is not a mapping of keys to values.")
    problems = _key_problems(values, SearchRecipe)
    if problems:
        raise ConfigError(f"The recipe `{path}` has wrong keys:\n    " + "\n    ".join(problems))
    return values


def _leaves(values: Mapping[str, Any], record: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give every value with its dotted key; a mapping that is itself a value stays whole."""
    hints = get_type_hints(record)
    for key, value in values.items():
        if is_dataclass(hints[key]) and isinstance(value, Mapping):
            yield from _leaves(value, hints[key], f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _key_problems(values: Mapping[str, Any], record: type, prefix: str = "") -> list[str]:
    """Find all unknown keys at once, where jsonargparse would stop at the first."""
    hints = get_type_hints(record)
    known = {f.name: hints[f.name] for f in fields(record)}
    problems = []
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            also = f"; the nearest is `{prefix}{near[0]}`" if near else ""
            problems.append(f"`{prefix}{key}` is unknown{also}")
        elif is_dataclass(known[key]) and isinstance(value, Mapping):
            problems += _key_problems(value, known[key], f"{prefix}{key}.")
        elif is_dataclass(known[key]):
            first = fields(known[key])[0].name
            problems.append(
                f"`{prefix}{key}` is a group of keys such as `{prefix}{key}.{first}`: got {value!r}"
            )
    return problems
