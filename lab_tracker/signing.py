"""URLs that carry their own permission: the SDK sends files without its key, so the address itself
must be one that nobody can guess. Any server over the same folder understands it."""

import hashlib
import hmac
from urllib.parse import quote


class Signer:
    """Makes and checks the URLs of uploads and downloads, with the folder's key."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def blob_url(self, digest: str, name: str) -> str:
        """Where the blob with this MD5 (hex) is downloaded; the name is only for the reader."""
        leaf = quote(name.rsplit("/", 1)[-1])
        return f"/-/blobs/{digest}/{self.sign('blob', digest)}/{leaf}"

    def run_file_url(self, run_id: int, name: str) -> str:
        """Where a file of a run is uploaded."""
        return f"/-/uploads/runs/{run_id}/{self.sign('run', run_id, name)}/{quote(name)}"

    def artifact_file_url(self, artifact_id: int, digest: str) -> str:
        """Where a file of a draft, with this MD5 (hex), is uploaded."""
        return f"/-/uploads/files/{artifact_id}/{digest}/{self.sign('file', artifact_id, digest)}"

    def manifest_url(self, artifact_id: int) -> str:
        """Where a draft's manifest is uploaded."""
        return f"/-/uploads/manifests/{artifact_id}/{self.sign('manifest', artifact_id)}"

    def sign(self, *parts: object) -> str:
        """The signature of what an URL permits."""
        text = "\0".join(map(str, parts)).encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()

    def verify(self, signature: str, *parts: object) -> bool:
        return hmac.compare_digest(signature.encode(), self.sign(*parts).encode())
