"""The limits that the tracking server puts on requests, each beside the reason for it.

A student's mistake, a hostile page or a full disk must not take the machine along."""

MIB = 2**20

MAX_REQUEST_BYTES = 32 * MIB  # a GraphQL request: names and digests of ten thousand files fit
MAX_STREAM_BYTES = 128 * MIB  # a chunk of a run's stream, unpacked; the SDK sends at most 10 MiB
MAX_MANIFEST_BYTES = 256 * MIB  # about a million files in one artifact
MAX_BLOB_BYTES = 64 * 1024 * MIB
MIN_FREE_BYTES = 64 * MIB  # left on the disk, so that the database can still be written
MAX_QUERY_TOKENS = 4_000  # the SDK's largest query has about 400
MAX_QUERY_DEPTH = 20  # the SDK's deepest has 12
MAX_ANSWER_FIELDS = 2_000_000
MAX_PAGE = 10_000  # rows of one page of a list
MAX_NAME = 128  # characters in the name of a project, run, artifact or alias, as at wandb.ai
MAX_PATH = 1024  # characters in the name of a file
