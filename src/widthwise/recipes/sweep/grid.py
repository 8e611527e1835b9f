"""The combinations of a sweep: from words of the command line to runs with readable names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from widthwise.errors import ConfigError, WidthwiseError
from widthwise.recipes.config import SearchRecipe, plain
from widthwise.recipes.loader import load_recipe

_OPENS = {"[": "]", "{": "}", "(": ")"}
_QUOTES = "\"'"
_LONGEST_VALUE = 32
"""Characters of one value in a name; names of files have 255."""
_PROBLEMS_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Point:
    """One combination of values."""

    name: str
    """Of its run folder."""
    values: Mapping[str, str]
    """Key of the recipe -> value, as on the command line."""

    def words(self) -> list[str]:
        """Return the options of ``widthwise search`` that set its values."""
        # In one word, because a value may begin with a dash.
        return [f"--{key}={value}" for key, value in self.values.items()]


def read_axes(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read options with several values each.

    Args:
        words: ``--KEY V1,V2`` or ``--KEY=V1,V2``, one or two words each.

    Returns:
        Key -> its values, in the order given.

    Raises:
        ConfigError: If a word has no key or a key no value, or something is there twice.

    Example:
        >>> read_axes(["--budget.macs", "0.2,0.4", "--arms=[full,uniform]"])
        {'budget.macs': ('0.2', '0.4'), 'arms': ('[full,uniform]',)}
    """
    axes: dict[str, tuple[str, ...]] = {}
    for key, text in _pairs(words):
        if key in axes:
            raise ConfigError(
                f"`--{key}` is given twice.\n"
                f"Hint: list all of its values at once, such as `--{key} A,B`."
            )
        values = split_values(text)
        problem = None
        if any(not value for value in values):
            problem = "has an empty value"
        elif len(set(values)) < len(values):
            twice = next(value for value in values if values.count(value) > 1)
            problem = f"lists `{twice}` twice"
        if problem:
            raise ConfigError(
                f"`--{key}` {problem}: got `{text}`.\n"
                "Hint: values are separated by commas; one that has commas itself goes in "
                "brackets or quotes."
            )
        axes[key] = tuple(values)
    return axes


def split_values(text: str) -> list[str]:
    """Split a text at commas, but not inside of brackets or quotes.

    Args:
        text: What stands behind a key.

    Returns:
        Its parts without blanks around them; a part in quotes loses them.

    Raises:
        ConfigError: If a bracket or a quote is not closed.

    Example:
        >>> split_values("a, [b,c], '2.5ms,batch=8'")
        ['a', '[b,c]', '2.5ms,batch=8']
    """
    parts, closing, quote = [""], "", ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES and (closing or not parts[-1].strip()):
            # Elsewhere it is an apostrophe.
            quote = letter
        elif letter in _OPENS:
            closing = _OPENS[letter] + closing
        elif closing and letter == closing[0]:
            closing = closing[1:]
        elif letter == "," and not closing:
            parts.append("")
            continue
        parts[-1] += letter
    if quote or closing:
        raise ConfigError(
            f"`{(quote or closing)[0]}` is missing in the values `{text}`.\n"
            "Hint: brackets and quotes keep the commas of one value together."
        )
    return [_unquoted(part.strip()) for part in parts]


def combinations(axes: Mapping[str, Sequence[str]]) -> tuple[Point, ...]:
    """List every combination of values; those of the last key change fastest.

    Args:
        axes: Key -> its values.

    Returns:
        The combinations, each with a name of its own. It says the values of the keys that have
        several.

    Example:
        >>> axes = {"budget.macs": ["0.2", "0.4"], "seed": ["0", "1"], "threads": ["1"]}
        >>> [point.name for point in combinations(axes)]
        ['macs0.2-seed0', 'macs0.2-seed1', 'macs0.4-seed0', 'macs0.4-seed1']
    """
    varied = [key for key, values in axes.items() if len(values) > 1] or list(axes)
    labels = _labels(varied)
    found: list[Point] = []
    # Some systems do not tell capitals from small letters.
    taken: set[str] = set()
    for chosen in itertools.product(*axes.values()):
        values = dict(zip(axes, chosen, strict=True))
        stem = "-".join(_told(labels[key], values[key]) for key in varied) or "run"
        name = stem
        for number in itertools.count(2):
            if name.lower() not in taken:
                break
            name = f"{stem}_{number}"
        taken.add(name.lower())
        found.append(Point(name=name, values=values))
    return tuple(found)


def check_points(recipe: str, points: Sequence[Point]) -> list[SearchRecipe]:
    """Read the recipe with the values of every combination.

    Args:
        recipe: Name of a recipe, or the path of a YAML file.
        points: The combinations.

    Returns:
        A complete configuration for each.

    Raises:
        ConfigError: If a key is unknown, a value is wrong, or two combinations mean the same.
    """
    recipes: list[SearchRecipe] = []
    problems: dict[str, str] = {}
    for point in points:
        try:
            found = load_recipe(recipe, point.words())
            found.budget.open()
            recipes.append(found)
        except WidthwiseError as error:
            problems.setdefault(str(error), point.name)
            continue
        if found.hardware.num_nodes > 1:
            raise ConfigError(
                f"`hardware.num_nodes` is {found.hardware.num_nodes} in `{point.name}`: a sweep "
                "does not start runs that share several machines.\n"
                "Hint: start each of them with `widthwise search` and your launcher."
            )
    if problems:
        shown = [f"    `{name}`: {text}" for text, name in problems.items()][:_PROBLEMS_SHOWN]
        raise ConfigError(
            "Nothing was started, for not every combination is a recipe:\n" + "\n".join(shown)
        )
    _check_distinct(points, recipes)
    return recipes


def _check_distinct(points: Sequence[Point], recipes: Sequence[SearchRecipe]) -> None:
    seen: dict[str, str] = {}
    for point, recipe in zip(points, recipes, strict=True):
        other = seen.setdefault(str(plain(recipe)), point.name)
        if other != point.name:
            raise ConfigError(
                f"`{other}` and `{point.name}` are the same recipe.\n"
                "Why: a run counted twice makes a spread look smaller than it is.\n"
                "Hint: write each value once; `0.5` and `0.50` are one."
            )


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    rest = list(words)
    while rest:
        word = rest.pop(0)
        key, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not key:
            raise ConfigError(
                f"`{word}` belongs to no key.\n"
                "Hint: RECIPE goes first, and the values of a key are separated by commas without "
                "blanks: `--seed 0,1,2`."
            )
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise ConfigError(f"`--{key}` has no value.\nHint: such as `--{key} V1,V2`.")
            value = rest.pop(0)
        yield key, value


def _unquoted(part: str) -> str:
    whole = len(part) > 1 and part[0] in _QUOTES and part.find(part[0], 1) == len(part) - 1
    return part[1:-1] if whole else part


def _labels(keys: Sequence[str]) -> dict[str, str]:
    """Shorten keys to their ends, as far as these tell them apart."""
    parts = {key: key.removesuffix(".name").split(".") for key in keys}
    labels = {}
    for key, own in parts.items():
        ends = [own[-length:] for length in range(1, len(own) + 1)]
        alone = (
            end
            for end in ends
            if not any(other[-len(end) :] == end for name, other in parts.items() if name != key)
        )
        labels[key] = ".".join(next(alone, own))
    return labels


def _told(label: str, value: str) -> str:
    text = re.sub(r"[^\w.+-]+", "_", value, flags=re.ASCII).strip("_.")[:_LONGEST_VALUE] or "_"
    return f"{label}{text}" if text[0].isdigit() or text[0] in "+-" else f"{label}_{text}"
