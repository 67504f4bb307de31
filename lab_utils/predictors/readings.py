"""A model service's answer as a reading; it comes from elsewhere, so all of it is checked."""

from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import PageReading

_Pixels = Annotated[int, Field(gt=0, lt=2**31)]
_Point = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]


def _whole(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("the text holds halves of characters")  # JSON can write them
    return text


_Characters = Annotated[str, AfterValidator(_whole)]


class _Strict(BaseModel):
    """No conversions: a number that comes as text is refused."""

    model_config = ConfigDict(strict=True)


class _Text(_Strict):
    pred: _Characters
    note: _Characters = ""


class _Line(_Strict):
    text: _Characters
    confidence: FiniteFloat
    path: list[_Point]
    height: FiniteFloat
    box: Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]
    block: int = 0


class _Reading(_Text):
    lines: list[_Line]
    seconds: FiniteFloat
    width: _Pixels
    height: _Pixels


_Form = TypeVar("_Form", bound=_Strict)


def decode_text(answer: object) -> str:
    """The text in the answer to one image; raises ValueError for any other answer."""
    return _checked(_Text, answer).pred


def decode_reading(answer: object) -> "PageReading":
    """The reading in the answer to one image that was sent with `"lines": true`.

    A service of an older version sends neither a note nor the lines' blocks.

    Raises ValueError for any other answer.
    """
    from text_recognizer.paragraph_text_recognizer import Line, PageReading

    found = _checked(_Reading, answer)
    lines = [
        Line(
            text=line.text,
            confidence=line.confidence,
            path=[(x, y) for x, y in line.path],
            height=line.height,
            box=tuple(line.box),
            block=line.block,
        )
        for line in found.lines
    ]
    return PageReading(found.pred, lines, found.seconds, found.width, found.height, found.note)


def _checked(form: type[_Form], answer: object) -> _Form:
    try:
        return form.model_validate(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the answer"
        raise ValueError(f"{place}: {first['msg']}") from None
