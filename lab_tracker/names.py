"""Which names, ids, file paths and JSON texts are accepted, checked once on their way in.

The rules for names are those of wandb.ai. A path becomes a path on somebody's disk when it is
downloaded, so one that leaves its folder is refused. `checked` makes a function check its arguments
by their types, of which those that the SDK's requests need are here."""

import json
import math
import re
from base64 import b64decode, b64encode
from functools import lru_cache, partial
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, validate_call

from lab_tracker.errors import NotFoundError, RequestError
from lab_tracker.limits import MAX_JSON_VALUES, MAX_NAME, MAX_PATH

_CONTROL = r"\x00-\x1f\x7f"
_NAME = re.compile(rf"[^/\\#?%:{_CONTROL}]{{1,{MAX_NAME}}}")
_PART = rf"(?!\.\.?(/|$))[^/\\{_CONTROL}]+"
_PATH = re.compile(rf"(?![A-Za-z]:){_PART}(/{_PART})*")

checked = validate_call(config=ConfigDict(arbitrary_types_allowed=True))


def first_mistake(error: ValidationError) -> str:
    """Where and what the first mistake in a request is."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the request'}: {first['msg']}"


@lru_cache(maxsize=1024)
def snake_case(name: str) -> str:
    """`artifact_id` for `artifactID`, `entity_name` for `entityName`."""
    return re.sub(r"(?<=[^A-Z])(?=[A-Z])", "_", name).lower()


def checked_name(name: str) -> str:
    """The name of a project, run, entity, artifact or alias. Raises RequestError for a bad one."""
    if isinstance(name, str) and name.strip(". ") and _NAME.fullmatch(name):
        return name
    raise RequestError(
        f"A name must be 1 to {MAX_NAME} characters, not only dots, and without / \\ # ? % : "
        f"or control characters, not {str(name)[:200]!r}."
    )


def checked_alias(alias: str) -> str:
    """An alias; `v3` and the like are refused, since they name versions."""
    if version_number(checked_name(alias)) is not None:
        raise RequestError(f"{alias!r} can't be an alias: it names a version.")
    return alias


def version_number(name: str) -> int | None:
    """3 for `v3`, None for a text that does not name a version."""
    match = re.fullmatch(r"v(0|[1-9][0-9]{0,8})", name)
    return int(match[1]) if match else None


def checked_path(path: str) -> str:
    """A relative path with forward slashes that stays below its folder on every system."""
    if isinstance(path, str) and len(path) <= MAX_PATH and _PATH.fullmatch(path):
        return path
    raise RequestError(
        f"A file's name must be a plain relative path of 1 to {MAX_PATH} printable characters, "
        f"not {str(path)[:200]!r}."
    )


def hex_digest(md5: str) -> str:
    """The MD5 that the SDK writes in base64, in hex. Raises RequestError for another text."""
    try:
        raw = b64decode(md5, validate=True)
    except (TypeError, ValueError):
        raw = b""
    if len(raw) != 16:
        raise RequestError(f"{str(md5)[:80]!r} is not an MD5 digest in base64.")
    return raw.hex()


def to_id(kind: str, number: object) -> str:
    """The id of a row for the SDK, which wants base64."""
    return b64encode(f"{kind}:{number}".encode()).decode()


def from_id(kind: str, text: object) -> int:
    """The row's number. Raises NotFoundError for the id of something else."""
    try:
        found, _, number = b64decode(str(text), validate=True).decode().partition(":")
        if found == kind and abs(int(number)) < 2**63:
            return int(number)
    except ValueError:
        pass
    raise NotFoundError(f"There is no {kind} with the id {str(text)[:80]!r}.")


def load_json(text: str | bytes, what: str) -> Any:
    """The value of a JSON text whose numbers all fit a float. Raises RequestError.

    The SDK sends NaN and Infinity, which JSON does not have: they become "NaN" and "Infinity".
    """
    try:
        text = text.decode() if isinstance(text, bytes) else text
        if sum(map(text.count, ",[{")) > MAX_JSON_VALUES:
            raise RequestError(f"{what} has too many values.", status=413)
        return _decoder.decode(text)
    except (ValueError, RecursionError):
        raise RequestError(f"{what} must be JSON, with numbers that fit a float.") from None


def checked_object(text: str, what: str = "The value") -> str:
    """A text that holds a JSON object. Raises RequestError for any other."""
    found = load_json(text, what) if isinstance(text, str) else None
    if not isinstance(found, dict):
        raise RequestError(f"{what} must be a JSON object.")
    return json.dumps(found) if "NaN" in text or "Infinity" in text else text


def _finite(kind: type, text: str) -> Any:
    if math.isinf(float(text)):
        raise ValueError("not finite")
    return kind(text)


_decoder = json.JSONDecoder(
    parse_float=partial(_finite, float), parse_int=partial(_finite, int), parse_constant=str
)


def _id_of(kind: str) -> Any:
    return Annotated[int, BeforeValidator(partial(from_id, kind))]


RunId, ArtifactId, CollectionId = _id_of("Run"), _id_of("Artifact"), _id_of("Collection")
FileId = _id_of("File")
Name = Annotated[str, BeforeValidator(checked_name)]
Path = Annotated[str, BeforeValidator(checked_path)]
Digest = Annotated[str, BeforeValidator(hex_digest)]
Object = Annotated[str, BeforeValidator(checked_object)]


class Alias(BaseModel):
    """An alias, and the collection that it is for."""

    alias: Annotated[str, BeforeValidator(checked_alias)]
    artifactCollectionName: str = ""
    projectName: str = ""
    entityName: str = ""


class Tag(BaseModel):
    """A tag of an artifact."""

    tagName: str = Field(max_length=MAX_PATH)


class FileSpec(BaseModel):
    """A file that is about to be uploaded for an artifact."""

    artifactID: ArtifactId
    name: Path
    md5: Digest
