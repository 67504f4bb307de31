"""A training written down in one TOML file: what it starts from, its stages, what it is judged by.

So the weights that come with the project can be made again by one command, and another training
differs from it in lines that can be read.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from text_recognizer.errors import RecognizerError
from text_recognizer.evaluate.validation import GROUPS
from text_recognizer.train.fit import NETWORKS, Settings, Table


class RecipeError(RecognizerError):
    """A recipe that cannot be read or says what is not understood."""


@dataclass(frozen=True)
class Stage:
    """One run of one network. name: "reader-1", "reader-2", ..., "finder-1", ..."""

    name: str
    network: str
    settings: Settings


class Start(Table):
    """What the first stage of each network goes on from: PP-OCRv6 small's reader, random weights,
    or the packaged ones."""

    reader: Literal["imported", "packaged"] = "imported"
    finder: Literal["new", "packaged"] = "new"


class Evaluation(Table):
    """The validation pages to read at the end."""

    groups: list[Literal[GROUPS]] = list(GROUPS)


class Recipe(Table):
    """What a training does, as its file says it. Stages without a seed get their own."""

    seed: NonNegativeInt = 1
    start: Start = Start()
    reader: list[Settings] = []
    finder: list[Settings] = []
    evaluation: Evaluation = Evaluation()

    @property
    def stages(self) -> list[Stage]:
        """The reader's in their order, each going on from the one before, then the finder's."""
        stages: list[Stage] = []
        for network in NETWORKS:
            for number, settings in enumerate(getattr(self, network), start=1):
                if "seed" not in settings.model_fields_set:
                    settings = settings.model_copy(update={"seed": self.seed + len(stages)})
                stages.append(Stage(f"{network}-{number}", network, settings))
        return stages

    @model_validator(mode="after")
    def _check_stages(self) -> "Recipe":
        if not self.stages:
            raise PydanticCustomError(
                "stages", "it has no stage; add a table [[reader]] or [[finder]]"
            )
        for stage in self.stages:
            steps, every = stage.settings.steps, stage.settings.validate_every
            if steps % every:
                raise PydanticCustomError(
                    "steps",
                    "{name}: steps ({steps}) is not a multiple of validate-every ({every})",
                    {"name": stage.name, "steps": steps, "every": every},
                )
        return self


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file.

    Raises RecipeError, in one sentence that names the place, where the file is missing or no TOML,
    a key is unknown or missing, or a value is of the wrong type or out of its range.
    """
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        parts = [str(part + 1) if isinstance(part, int) else part for part in first["loc"]]
        where = f"{' '.join(parts)}: " if parts else ""
        raise RecipeError(f"{path.name}: {where}{first['msg']}.") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path.name} is not TOML: {error}.") from None
    except (OSError, UnicodeDecodeError):
        raise RecipeError(f"There is no recipe at {path}; give the path of a TOML file.") from None
