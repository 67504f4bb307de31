"""A training written down in one TOML file: what it starts from, its stages, what it is judged by.

So the weights that come with the project can be made again by one command, and another training
differs from it in lines that can be read.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from text_recognizer.errors import RecognizerError
from text_recognizer.evaluate.validation import GROUPS
from text_recognizer.pages.generator import KINDS, TRAINING_MIX
from text_recognizer.train.fit import NETWORKS, Settings

STARTS = {"reader": ("imported", "packaged"), "finder": ("new", "packaged")}
UNITS = {"reader": "strips", "finder": "pages"}


class RecipeError(RecognizerError):
    """A recipe that cannot be read or says what is not understood."""


@dataclass(frozen=True)
class Stage:
    """One run of one network. name: "reader-1", "reader-2", ..., "finder-1", ..."""

    name: str
    settings: Settings


@dataclass(frozen=True)
class Recipe:
    """What a training does.

    start: network -> "imported" (PP-OCRv6 small's reader), "packaged" or "new" (random weights).
    stages: the reader's in their order, each going on from the one before, then the finder's.
    groups: validation pages to read at the end.
    speeds: kind of machine ("cpu", "gpu") -> strips and pages a second that were measured there.
    """

    start: dict[str, str]
    stages: list[Stage]
    groups: tuple[str, ...]
    speeds: dict[str, dict[str, float]]

    def hours(self, speed: Mapping[str, float]) -> dict[str, float]:
        """Hours of each stage at a speed: network -> strips or pages a second. Stages of a network
        whose speed is not known are left out."""
        return {
            stage.name: stage.settings.steps * stage.settings.batch / speed[network] / 3600
            for stage in self.stages
            if (network := stage.settings.network) in speed
        }


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file.

    Raises RecipeError, in one sentence that names the place, where the file is missing or no TOML,
    a key is unknown or missing, or a value is of the wrong type or out of its range.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise RecipeError(f"There is no recipe at {path}; give the path of a TOML file.") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path.name} is no TOML: {error}.") from None
    try:
        return _recipe(table)
    except _WrongError as wrong:
        raise RecipeError(f"{path.name}: {wrong}.") from None


class _WrongError(Exception):
    """What is wrong in a recipe, and where."""


def _recipe(table: dict[str, Any]) -> Recipe:
    _refuse_unknown(table, ("about", "seed", "start", "reader", "finder", "evaluation", "speed"))
    seed = _value(table, "seed", 1, _whole(0))
    start = {
        network: _value(
            _table(table, "start", NETWORKS), network, STARTS[network][0], _one_of(STARTS[network])
        )
        for network in NETWORKS
    }
    stages: list[Stage] = []
    for network in NETWORKS:
        tables = table.get(network, [])
        if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
            raise _WrongError(f"stages are written as [[{network}]]")
        for number, one in enumerate(tables, start=1):
            name = f"{network}-{number}"
            stages.append(Stage(name, _settings(network, one, seed + len(stages), name)))
    if not stages:
        raise _WrongError("it has no stage: add a table [[reader]] or [[finder]]")
    evaluation = _table(table, "evaluation", ("groups",))
    groups = _value(evaluation, "groups", list(GROUPS), _list_of(GROUPS))
    speeds = {
        kind: {
            network: _value(own, f"{UNITS[network]}-per-second", None, _number(above=0))
            for network in NETWORKS
            if f"{UNITS[network]}-per-second" in own
        }
        for kind in ("cpu", "gpu")
        for own in [
            _table(
                _table(table, "speed", ("cpu", "gpu")),
                kind,
                ("machine", *(f"{unit}-per-second" for unit in UNITS.values())),
            )
        ]
    }
    return Recipe(start, stages, tuple(groups), speeds)


def _settings(network: str, table: dict[str, Any], seed: int, name: str) -> Settings:
    keys = ("steps", "batch", "learning-rate", "validate-every", "mix", "ema", "seed")
    try:
        _refuse_unknown(table, (*keys, "validation-batches"))
        if "steps" not in table:
            raise _WrongError("the key steps is missing")
        steps = _value(table, "steps", None, _whole(1))
        every = _value(table, "validate-every", min(100, steps), _whole(1))
        if steps % every:
            raise _WrongError(f"steps ({steps}) is no multiple of validate-every ({every})")
        return Settings(
            network,
            steps,
            _value(table, "batch", 16, _whole(1)),
            _value(table, "learning-rate", None, _number(above=0)),
            every,
            _value(table, "mix", dict(TRAINING_MIX), _mix),
            _value(table, "ema", 0.998, _number(least=0, below=1)),
            _value(table, "seed", seed, _whole(0)),
            _value(table, "validation-batches", None, _whole(1)),
        )
    except _WrongError as wrong:
        raise _WrongError(f"{name}: {wrong}") from None


def _table(table: dict[str, Any], key: str, keys: tuple[str, ...]) -> dict[str, Any]:
    own = table.get(key, {})
    if not isinstance(own, dict):
        raise _WrongError(f"{key} must be a table")
    _refuse_unknown(own, keys, f"{key}: ")
    return own


def _refuse_unknown(table: dict[str, Any], keys: tuple[str, ...], where: str = "") -> None:
    for key in table:
        if key not in keys:
            raise _WrongError(f"{where}the key {key} is unknown; known are {', '.join(keys)}")


Check = Callable[[Any], Any]


def _value(table: dict[str, Any], key: str, default: Any, check: Check) -> Any:
    if key not in table:
        return default
    try:
        return check(table[key])
    except ValueError as error:
        raise _WrongError(f"{key} must be {error}, not {table[key]!r}") from None


def _whole(least: int) -> Check:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"a whole number of at least {least}")
        return value

    return check


def _number(
    above: float | None = None, least: float | None = None, below: float | None = None
) -> Check:
    bounds = [
        f"{word} {bound}"
        for word, bound in (("above", above), ("at least", least), ("below", below))
        if bound is not None
    ]

    def check(value: Any) -> float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        fits = fits and (above is None or value > above) and (least is None or value >= least)
        if not fits or not (below is None or value < below):
            raise ValueError(f"a number {' and '.join(bounds)}")
        return float(value)

    return check


def _one_of(names: tuple[str, ...]) -> Check:
    def check(value: Any) -> str:
        if value not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return value

    return check


def _list_of(names: tuple[str, ...]) -> Check:
    def check(value: Any) -> list[str]:
        if not isinstance(value, list) or any(one not in names for one in value):
            raise ValueError(f"a list of {', '.join(names)}")
        return value

    return check


def _mix(value: Any) -> dict[str, float]:
    share = _number(above=0)
    try:
        if value and isinstance(value, dict) and all(kind in KINDS for kind in value):
            return {kind: share(part) for kind, part in value.items()}
    except ValueError:
        pass
    raise ValueError(f"a table of shares above 0 of {', '.join(KINDS)}")
