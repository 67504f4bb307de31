"""URLs that carry their own permission. The SDK sends files without its key, so the address itself
must be one that nobody can guess. Every server over the same folder understands it."""

import hashlib
import hmac
from urllib.parse import quote

from lab_tracker.errors import RequestError


class Signer:
    """Makes and checks the URLs of uploads and downloads with the folder's key."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def blob_url(self, digest: str, name: str) -> str:
        """Where the blob with this MD5 (hex) is downloaded; the name is only for the reader."""
        leaf = quote(name.rsplit("/", 1)[-1])
        return f"/-/blobs/{digest}/{self._sign('blob', digest)}/{leaf}"

    def run_file_url(self, run_id: int, name: str) -> str:
        """Where a file of a run is uploaded."""
        return f"/-/uploads/runs/{run_id}/{self._sign('run', run_id, name)}/{quote(name)}"

    def artifact_file_url(self, artifact_id: int, digest: str) -> str:
        """Where a file of a draft, with this MD5 (hex), is uploaded."""
        return f"/-/uploads/files/{artifact_id}/{digest}/{self._sign('file', artifact_id, digest)}"

    def manifest_url(self, artifact_id: int) -> str:
        """Where a draft's manifest is uploaded."""
        return f"/-/uploads/manifests/{artifact_id}/{self._sign('manifest', artifact_id)}"

    def check(self, signature: str, *parts: object) -> None:
        """Raises RequestError if the signature is not that of these parts."""
        if not hmac.compare_digest(signature.encode(), self._sign(*parts).encode()):
            raise RequestError("The address is not one that this tracker gave.", status=403)

    def _sign(self, *parts: object) -> str:
        text = "\0".join(map(str, parts)).encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()
