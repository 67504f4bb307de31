"""One table of requests that every HTTP edge of the lab that takes model requests must refuse.

`BAD_REQUESTS` is data; a test sends each to an edge and calls `check`.
"""

import base64
import json
from dataclasses import dataclass, field

from hostile_images import encoded, gray, png_of_chunks

MAX_BODY_BYTES = 6 * 2**20


@dataclass(frozen=True)
class BadRequest:
    """A request, and what its refusal must be."""

    name: str
    status: int
    body: bytes = b""
    method: str = "POST"
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    said: str = ""
    """What the sentence holds."""
    is_http_only: bool = False
    """Whether it can't be sent as the event of a Function URL: its head is what is wrong."""

    def check(self, status: int, body: bytes) -> None:
        """Fails unless status and body are those of a right refusal."""
        assert status == self.status, f"{self.name}: {status} {body[:300]!r}"
        document = json.loads(body)
        assert set(document) == {"error"}, self.name
        sentence = document["error"]
        assert sentence.endswith(".") and len(sentence) < 400 and "\n" not in sentence, sentence
        assert "Traceback" not in sentence and "/etc" not in sentence
        assert self.said in sentence, sentence


def png(width: int, height: int) -> bytes:
    """A gray picture that every reader can read."""
    return encoded(gray(width, height).point(lambda v: 112 + v // 8))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises that many pixels."""
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"
    return png_of_chunks(head, b"x" * 50)


def text(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


def _json(name: str, status: int, document: object, said: str = "") -> BadRequest:
    return BadRequest(name, status, json.dumps(document).encode(), said=said)


_GOOD = json.dumps({"image": text(png(60, 40))}).encode()

_NOT_JSON = {
    "empty": b"",
    "bytes that are no text": b"\xff\xfe\x00",
    "only a byte order mark": b"\xef\xbb\xbf",
    "nested too deep": b"[" * 100_000,
    "a number of 10,000 digits": b'{"image": ' + b"9" * 10_000 + b"}",
    "NaN": b'{"image": NaN}',
}

_FORMS = {
    "a list": [],
    "null": None,
    "nothing in it": {},
    "two sources": {"image": "a", "image_url": "http://a/"},
    "null as image": {"image": None},
    "an object as image": {"image": {"url": "a"}},
    "lines as a number": {"image": "a", "lines": 1},
    "an unknown field": {"image": "a", "path": "/etc/passwd"},
    "no images": {"images": []},
    "a number among images": {"images": ["a", 5]},
    "a number as address": {"image_url": 5},
    "half a character in an address": {"image_url": "http://a/\ud800"},
    "an address without end": {"image_url": "http://a/" + "b" * 5000},
}

_IMAGES = {
    "a path": "/etc/hostname",
    "a file's address": "file:///etc/hostname",
    "an address as image": "http://127.0.0.1/page.png",
    "not base64": "%%%",
    "a null character": "\x00",
    "half a character": "\ud800",
    "nothing": "",
    "an empty data URI": "data:image/png;base64,",
    "half a picture": text(png(300, 200)[:200]),
    "a picture of 4 x 4 px": text(png(4, 4)),
    "an SVG": text(b"<svg/>" * 20),
}

# `test_fetching.py` has private addresses in every spelling.
_ADDRESSES = {
    "loopback": "http://127.0.0.1/",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "a login": "http://user:word@8.8.8.8/",
    "a file": "FILE:///etc/hostname",
    "FTP": "ftp://8.8.8.8/page.png",
    "a data URI": "data:image/png;base64," + text(png(60, 40)),
    "no scheme": "//127.0.0.1/",
    "no host": "http:///etc/hostname",
    "a null character": "http://127.0.0.1\x00.example/",
    "nothing": "",
}

BAD_REQUESTS: list[BadRequest] = [
    *(BadRequest(f"body: {name}", 400, body) for name, body in _NOT_JSON.items()),
    *(_json(f"form: {name}", 400, document) for name, document in _FORMS.items()),
    *(_json(f"image: {name}", 422, {"image": image}) for name, image in _IMAGES.items()),
    *(_json(f"address: {name}", 422, {"image_url": url}) for name, url in _ADDRESSES.items()),
    _json("image: many pixels", 413, {"image": text(bomb(50_000, 50_000))}),
    _json("images: 17", 413, {"images": [text(png(60, 40))] * 17}, "at most 16"),
    _json("images: a bad one", 422, {"images": [text(png(60, 40)), "aGVsbG8="]}, "Image 2 of 2: "),
    BadRequest("size: one byte too many", 413, b" " * (MAX_BODY_BYTES + 1)),
    BadRequest("size: 7 MB of an image", 413, b'{"image": "' + b"a" * 7_000_000),
    BadRequest("method: PUT", 405, _GOOD, "PUT"),
    BadRequest("method: OPTIONS", 405, method="OPTIONS"),
    BadRequest("path: not there", 404, method="GET", path="/favicon.ico"),
    BadRequest("host: another site's name", 403, _GOOD,
               headers={"Host": "evil.example"}, is_http_only=True),
    BadRequest("origin: another site's page", 403, _GOOD,
               headers={"Origin": "http://evil.example", "Content-Type": "text/plain"},
               is_http_only=True),
    BadRequest("origin: another port of this machine", 403, _GOOD,
               headers={"Origin": "http://127.0.0.1:1", "Content-Type": "text/plain"},
               is_http_only=True),
]  # fmt: skip

GOOD_BODY_WITH_MARK = b"\xef\xbb\xbf" + _GOOD
"""A good request, with a byte order mark before it."""
