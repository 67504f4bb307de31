"""Every limit on what comes in, in one place, so that each edge (command line, app, service)
refuses the same things and the documentation can point here."""

MAX_PAGE_SIDE = 1600
"""Longest side in px of the page that the network sees; larger images are scaled down, and
read in several views where their writing is small."""

MAX_DETAIL_PIXELS = 12_600_000
"""Pixels in which small writing is looked for: a phone's 12 MP; larger images are scaled down."""

MIN_IMAGE_SIDE = 8
"""Shortest side in px of an image in which writing is looked for."""

MAX_IMAGE_PIXELS = 2**26
"""Pixels of an image, checked in its header before it is decoded. 67 million: a phone's 64 MP
photo passes, and decoding stays below 1 GB in the formats' worst case."""

MAX_DOCUMENT_PAGES = 50
"""Pages of a PDF or TIFF, counted before one is rendered."""

MAX_WEBP_PIXELS = 2**25
"""The same for WebP, whose decoder needs four times the memory a pixel."""

MAX_FILE_BYTES = 200_000_000
"""Bytes of an image in a file or in memory: an uncompressed scan of MAX_IMAGE_PIXELS in colour."""

MAX_DOWNLOAD_BYTES = 20_000_000
"""Bytes of an image that comes from a URL."""

MAX_BASE64_BYTES = 20_000_000
"""Bytes of an image that comes as base64 text or as a data URI, counted decoded."""

DECODE_SECONDS = 8.0
"""Seconds in which all images of a request that are no files of yours must be decoded."""

PAGE_SECONDS = 1.0
"""Seconds that each further page of a document may take besides, as it is read in a turn of its
own: a scan of 300 dpi takes 0.2 s, and more on a busy machine."""

DECODE_BYTES = 500_000_000
"""Bytes of memory that decoding such an image may take."""

FETCH_SECONDS = 8.0
"""Seconds for a download in all: name look-up, connection, redirects and body. A request with an
address that does not answer is answered within 10 s."""

MAX_REDIRECTS = 5
"""Redirects followed in one download."""

MAX_BATCH = 8
"""Pages that go through the network at once; longer batches are split to bound the memory."""
