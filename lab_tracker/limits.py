"""The limits of the tracking server, each beside the reason for it, and the budget of a request.

A student's mistake, a hostile page or a full disk must not take the machine down."""

import math
from contextvars import ContextVar

from lab_tracker.errors import RequestError

MIB = 2**20

MAX_REQUEST_BYTES = 32 * MIB  # a GraphQL request: names and digests of ten thousand files fit
MAX_STREAM_BYTES = 32 * MIB  # a chunk of a run's stream; the SDK sends at most 10 MiB
MAX_STREAM_LINES = 100_000  # in one chunk of a stream
MAX_MANIFEST_BYTES = 256 * MIB  # about a million files in one artifact
MAX_BLOB_BYTES = 64 * 1024 * MIB
MAX_JSON_VALUES = 6_000_000  # in one text: each takes up to 72 bytes once it is read
MIN_FREE_BYTES = 64 * MIB  # left on the disk, so that the database can still be written
MAX_QUERY_CHARACTERS = 100_000  # of a query without its variables; the SDK's largest has 10,000
MAX_QUERY_TOKENS = 4_000  # the SDK's largest query has about 400
MAX_WORK = 2_000_000  # units of one request: about 5 s at most
MAX_PAGE = 10_000  # rows of one page of a list
MAX_NAME = 128  # characters in the name of a project, run, artifact or alias, as at wandb.ai
MAX_PATH = 1024  # characters in the name of a file

_left: ContextVar[float] = ContextVar("left", default=math.inf)


def start_budget() -> None:
    """Begins a request, which may cost `MAX_WORK` units, however it asks for the work.

    One unit is a row, a selected field of one object, or a hundred characters of text.
    """
    _left.set(MAX_WORK)


def spend(units: int) -> None:
    """Takes units away; raises RequestError once there are none left."""
    _left.set(_left.get() - units)
    if _left.get() < 0:
        raise RequestError("The request asks for too much at once; ask for less.", status=413)
