"""From the name of a recipe and command-line overrides to a checked configuration."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from jsonargparse import ArgumentParser, set_parsing_settings

from widthwise.errors import ConfigError
from widthwise.methods import METHODS
from widthwise.recipes.config import SearchRecipe
from widthwise.tasks import TASKS
from widthwise.tasks.stage import StageConfig

_HELP = "`widthwise search {} --help` lists every option."

UNIONS: Mapping[str, Mapping[str, type]] = {"task": TASKS, "method": METHODS}
"""Key of a recipe whose record is chosen by its `name` -> the records to choose from."""


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


def recipe_values(recipe: str) -> Mapping[str, Any]:
    """Read what the file of a recipe says, unchecked.

    Args:
        recipe: See `recipe_path`.

    Returns:
        Key -> value.

    Raises:
        ConfigError: If there is no such recipe, or it cannot be read.
    """
    return _values(recipe_path(recipe))


def recipe_parser(recipe: str, overrides: Sequence[str] = (), *, prog: str) -> ArgumentParser:
    """Make a parser whose defaults are the values of a recipe.

    Args:
        recipe: See `recipe_path`.
        overrides: What will be parsed. A ``--task.name`` or ``--method.name`` among it chooses
            another record, whose other values are then its own defaults.
        prog: Command to show in the help.

    Returns:
        A parser with one option per field, raising `argparse.ArgumentError` on wrong input.

    Raises:
        ConfigError: If the file cannot be read, has unknown or missing keys, or wrong values.
    """
    path = recipe_path(recipe)
    values, shape = _chosen(_values(path), overrides, path)
    problems = _key_problems(values, shape.hints)
    if problems:
        raise ConfigError(f"The recipe `{path}` has wrong keys:\n    " + "\n    ".join(problems))
    # Help texts are the docstrings under the fields.
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(
        prog=prog, usage="%(prog)s [--KEY VALUE ...]", exit_on_error=False, allow_abbrev=False
    )
    parser.add_class_arguments(SearchRecipe, skip=set(shape.records) | {"search"})
    for key, record in shape.records.items():
        parser.add_class_arguments(record, key)
    try:
        # Defaults are not checked, so this has to be.
        parser.parse_object(dict(values))
    except (argparse.ArgumentError, TypeError) as error:
        raise ConfigError(f"The recipe `{recipe}` is wrong. {error}") from error
    parser.set_defaults(dict(_leaves(values, shape.hints)))
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
    parser = recipe_parser(recipe, overrides, prog=f"widthwise search {recipe}")
    try:
        values = parser.instantiate(parser.parse_args(list(overrides)))
    except (argparse.ArgumentError, TypeError) as error:
        raise ConfigError(
            f"Recipe `{recipe}`: {error}\n"
            f"Hint: {_nearest(parser, str(error))}{_HELP.format(recipe)}"
        ) from error
    given = {f.name: values[f.name] for f in fields(SearchRecipe) if f.name in values}
    return SearchRecipe(**given)


def _nearest(parser: ArgumentParser, error: str) -> str:
    """Name the option that was meant, where the first unknown one is near to another."""
    _, unknown, rest = error.partition("nrecognized arguments: ")
    if not unknown:
        return ""
    option = rest.split()[0].partition("=")[0]
    known = [option for action in parser._actions for option in action.option_strings]
    near = difflib.get_close_matches(option, known, n=1)
    return f"the nearest to `{option}` is `{near[0]}`; " if near else ""


@dataclass(frozen=True)
class _Shape:
    """The types of a recipe whose records have been chosen."""

    records: Mapping[str, type]
    """Key -> the record that was chosen for it; `search` too, if the method trains."""
    hints: Mapping[str, Any]
    """Key -> its type."""


def _chosen(
    values: Mapping[str, Any], overrides: Sequence[str], path: Path
) -> tuple[Mapping[str, Any], _Shape]:
    """Choose the records of a recipe.

    Args:
        values: What the file says.
        overrides: They may choose another record; what the file says of its own is then dropped.
        path: The file, for messages.

    Returns:
        What is left of the values, and the types of everything.

    Raises:
        ConfigError: If there is no record of such a name.
    """
    values = dict(values)
    records: dict[str, Any] = {}
    switched = False
    for key, known in UNIONS.items():
        there = values.get(key)
        name = there.get("name") if isinstance(there, Mapping) else None
        wanted = _overridden(f"--{key}.name", overrides)
        if wanted is not None and wanted != name:
            switched |= key == "method"
            values[key], name = {"name": wanted}, wanted
        if not isinstance(name, str) or name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"the nearest is `{near[0]}`; " if near else ""
            problem = "is missing" if name is None else f"is {name!r}, which is unknown"
            raise ConfigError(
                f"`{key}.name` of the recipe `{path}` {problem}.\n"
                f"Hint: {hint}there are {', '.join(f'`{each}`' for each in known)}."
            )
        records[key] = known[name]
    trains = records["method"].trains
    if switched and not trains:
        values.pop("search", None)
    if trains or values.get("search") is not None:
        records["search"] = StageConfig
    else:
        values.pop("search", None)
    return values, _Shape(records, {**get_type_hints(SearchRecipe), **records})


def _overridden(option: str, overrides: Sequence[str]) -> str | None:
    """Find the value of an option, the last one if it is given twice."""
    found = None
    for place, word in enumerate(overrides):
        if word == option:
            found = next(iter(overrides[place + 1 :]), None)
        elif word.startswith(f"{option}="):
            found = word.partition("=")[2]
    return found


def _values(path: Path) -> Mapping[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the recipe `{path}`: {error}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"The recipe `{path}` is not a mapping of keys to values.")
    return values


def _leaves(
    values: Mapping[str, Any], hints: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Give every value with its dotted key; a mapping that is itself a value stays whole."""
    for key, value in values.items():
        if is_dataclass(hints[key]) and isinstance(value, Mapping):
            yield from _leaves(value, get_type_hints(hints[key]), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _key_problems(
    values: Mapping[str, Any], hints: Mapping[str, Any], prefix: str = ""
) -> list[str]:
    """Find all unknown keys at once, where jsonargparse would stop at the first."""
    problems = []
    for key, value in values.items():
        hint = hints.get(key)
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1)
            also = f"; the nearest is `{prefix}{near[0]}`" if near else ""
            problems.append(f"`{prefix}{key}` is unknown{also}")
        elif not isinstance(hint, type) or not is_dataclass(hint):
            continue
        elif isinstance(value, Mapping):
            known = {f.name: get_type_hints(hint)[f.name] for f in fields(hint)}
            problems += _key_problems(value, known, f"{prefix}{key}.")
        else:
            first = fields(hint)[0].name
            problems.append(
                f"`{prefix}{key}` is a group of keys such as `{prefix}{key}.{first}`: got {value!r}"
            )
    return problems
