"""Addresses that carry their own permission. The SDK sends files without its key, so the address
itself must be one that nobody can guess. Every server over the same folder understands it."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote

from lab_tracker.errors import RequestError


class Signer:
    """Makes and reads the tokens in the addresses of files, with the folder's key."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def upload_url(self, kind: str, number: int, name: str = "") -> str:
        """Where a run's `file`, an artifact's `blob` (by MD5 in hex) or its `manifest` is sent."""
        return f"/-/uploads/{self._token(kind, number, name)}"

    def blob_url(self, digest: str, name: str) -> str:
        """Where the blob with this MD5 (hex) is downloaded; the name is only for the reader."""
        return f"/-/blobs/{self._token(digest)}/{quote(name.rsplit('/', 1)[-1])}"

    def read(self, token: str) -> list[Any]:
        """The parts of a token. Raises RequestError if it was not made with this key."""
        text, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(text).encode()):
            raise RequestError("The address is not one that this tracker gave.", status=403)
        return json.loads(urlsafe_b64decode(text))

    def _token(self, *parts: object) -> str:
        text = urlsafe_b64encode(json.dumps(parts).encode()).decode()
        return f"{text}.{self._sign(text)}"

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
