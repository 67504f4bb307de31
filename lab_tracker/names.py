"""Which names, ids, file paths and JSON texts are accepted, checked once on their way in.

The rules for names are those of wandb.ai. A path becomes a path on somebody's disk when it is
downloaded, so one that leaves its folder is refused. `checked` makes a function check its arguments
by their types, of which those that the SDK's requests need are here."""

import json
import math
import re
from base64 import b64decode, b64encode
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, validate_call

from lab_tracker.errors import NotFoundError, RequestError
from lab_tracker.limits import MAX_JSON_VALUES, MAX_NAME, MAX_PATH

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RESERVED = re.compile(r"[/\\#?%:]")

checked = validate_call(config=ConfigDict(arbitrary_types_allowed=True))


def first_mistake(error: ValidationError) -> str:
    """Where and what the first mistake in a request is."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the request'}: {first['msg']}"


def checked_name(name: object, what: str) -> str:
    """The name of a project, run, entity or artifact. Raises RequestError for a bad one."""
    if not isinstance(name, str) or not name.strip(". ") or len(name) > MAX_NAME:
        raise RequestError(f"{what} must be 1 to {MAX_NAME} characters, and not only dots.")
    if _RESERVED.search(name) or _CONTROL.search(name):
        raise RequestError(f"{what} {name!r} must have none of the characters / \\ # ? % :")
    return name


def checked_alias(alias: object) -> str:
    """An alias; `v3` and the like are refused, since they name versions."""
    alias = checked_name(alias, "An alias")
    if version_number(alias) is not None:
        raise RequestError(f"{alias!r} can't be an alias: it names a version.")
    return alias


def version_number(name: str) -> int | None:
    """3 for `v3`, None for a text that does not name a version."""
    match = re.fullmatch(r"v(0|[1-9][0-9]{0,8})", name)
    return int(match[1]) if match else None


def checked_path(path: object) -> str:
    """A relative path with forward slashes that stays below its folder on every system."""
    if not isinstance(path, str) or not path or len(path) > MAX_PATH or _CONTROL.search(path):
        raise RequestError(f"A file's name must be 1 to {MAX_PATH} printable characters.")
    parts = path.split("/")
    if "\\" in path or re.match(r"[A-Za-z]:", path) or any(p in ("", ".", "..") for p in parts):
        raise RequestError(f"The path {path!r} would leave its folder; give a plain relative one.")
    return path


def hex_digest(md5: object) -> str:
    """The MD5 that the SDK writes in base64, in hex. Raises RequestError for another text."""
    try:
        raw = b64decode(md5, validate=True) if isinstance(md5, str) else b""
    except ValueError:
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
    """The value of a JSON text whose numbers all fit a float. Raises RequestError."""
    try:
        text = text.decode() if isinstance(text, bytes) else text
        if sum(map(text.count, ",[{")) > MAX_JSON_VALUES:
            raise RequestError(f"{what} has too many values.", status=413)
        return _decoder.decode(text)
    except (ValueError, RecursionError):
        raise RequestError(f"{what} must be JSON, with numbers that fit a float.") from None


def checked_object(text: object, what: str) -> str:
    """A text that holds a JSON object. Raises RequestError for any other.

    The SDK sends NaN and Infinity, which JSON does not have: they become "NaN" and "Infinity".
    """
    found = load_object(text, what)
    assert isinstance(text, str)
    return json.dumps(found) if "NaN" in text or "Infinity" in text else text


def load_object(text: object, what: str) -> dict[str, Any]:
    """The JSON object in a text. Raises RequestError if there is none."""
    if isinstance(text, str) and isinstance(found := load_json(text, what), dict):
        return found
    raise RequestError(f"{what} must be a JSON object.")


def _finite(text: str) -> float:
    if math.isfinite(value := float(text)):
        return value
    raise ValueError("not finite")


def _whole(text: str) -> int:
    if len(text) <= 308:  # digits; with more, it does not fit a float
        return int(text)
    raise ValueError("too large")


_decoder = json.JSONDecoder(parse_float=_finite, parse_int=_whole, parse_constant=str)


def _id_of(kind: str) -> Any:
    return Annotated[int, BeforeValidator(partial(from_id, kind))]


RunId, ArtifactId, CollectionId = _id_of("Run"), _id_of("Artifact"), _id_of("Collection")
FileId = _id_of("File")
Path = Annotated[str, BeforeValidator(checked_path)]
Digest = Annotated[str, BeforeValidator(hex_digest)]
Object = Annotated[str, BeforeValidator(partial(checked_object, what="The value"))]


class Alias(BaseModel):
    """An alias, and the collection that it is for."""

    alias: Annotated[str, BeforeValidator(checked_alias)]
    artifactCollectionName: str | None = None
    projectName: str | None = None
    entityName: str | None = None


class Tag(BaseModel):
    """A tag of an artifact."""

    tagName: str = Field(max_length=MAX_PATH)


class FileSpec(BaseModel):
    """A file that is about to be uploaded for an artifact."""

    artifactID: ArtifactId
    name: Path
    md5: Digest
