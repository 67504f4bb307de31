"""What can be chosen about the batching service. Apart from the rest, since a command line that
asks for it should not load Ray and PyTorch."""

from dataclasses import dataclass

from text_recognizer.limits import MAX_BATCH


@dataclass(frozen=True)
class Settings:
    """How pages are read; see `lab service ray --help`."""

    model: str
    """TorchScript file, found under this path on every machine of the cluster."""
    replicas: int = 1
    max_batch: int = MAX_BATCH
    """Pages read at once, at most; no more than `text_recognizer.limits.MAX_BATCH`."""
    max_wait_ms: float = 10.0
    """How long the first page of a batch waits for others while the replica has nothing to do."""
    queue_size: int = 32
    """Pages that wait for a replica with room; more are refused with 503."""
    threads: int = 1
    """Cores that a replica uses: all for a page alone, one for each page of a batch."""
