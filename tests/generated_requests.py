"""Requests made by hypothesis, for every edge: from the table of bad ones, from hostile images, and
from whatever else a client may send.

A test sends a few of them each time, and at night 10,000 in all (LAB_GENERATED_REQUESTS).
"""

import json
import os
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import quote

import pytest
from bad_requests import BAD_REQUESTS, png, text
from hostile_images import HOSTILE_IMAGES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EDGES = ("app", "gateway", "handler", "Ray", "tracker", "tunnel")
FEW = 12
MANY = -(-int(os.environ.get("LAB_GENERATED_REQUESTS", "10_000")) // len(EDGES))
COUNTS = pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.nightly)])

GOOD = png(60, 40)
SLOW = (
    "JPEG: 3,000 scans",
    "JPEG: 250,000 markers",
    "PNG: the most pixels, transparent",
    "PNG: 100,000 texts",
    "TIFF: a megabyte named 5,000 times",
)
"""Images that take seconds each, so they are sent apart."""


def generated(strategy: st.SearchStrategy, count: int, test: Callable[[object], None]) -> None:
    """Tests so many of what a strategy makes, the same at every run."""
    run = given(strategy)(test)
    settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )(run)()


def changed(data: bytes, at: int, new: bytes) -> bytes:
    at %= len(data)
    return data[:at] + new + data[at + len(new) :]


quick = st.sampled_from(sorted(set(HOSTILE_IMAGES) - set(SLOW)))
pictures = st.builds(
    changed,
    quick.map(lambda name: HOSTILE_IMAGES[name]()) | st.just(GOOD),
    st.integers(0, 10**7),
    st.binary(max_size=8),
)
# Any character, the halves of pairs and the null among them.
texts = st.text(st.characters(exclude_categories=()), max_size=60)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.just(text(GOOD)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
images = pictures.map(text) | texts | st.binary(max_size=200).map(text)
urls = texts | texts.map(lambda rest: f"http://{rest}") | st.sampled_from(["http:", "https://["])
service_documents = st.one_of(
    images.map(lambda image: {"image": image}),
    st.lists(images, max_size=18).map(lambda many: {"images": many, "lines": True}),
    urls.map(lambda url: {"image_url": url}),
    st.dictionaries(st.sampled_from(["image", "images", "image_url", "lines"]), anything),
    anything,
)
app_documents = st.one_of(
    images.map(lambda image: {"data": [image]}),
    images.map(lambda image: {"data": [{"url": f"data:image/png;base64,{image}"}]}),
    images.map(lambda image: {"data": [{"path": image}]}),
    st.lists(images, max_size=3).map(lambda many: {"data": many, "batched": True}),
)


def encoded(documents: st.SearchStrategy) -> st.SearchStrategy[bytes]:
    return documents.map(lambda document: json.dumps(document).encode())


bad_bodies = st.sampled_from([one.body for one in BAD_REQUESTS if not one.is_http_only])
headers = st.dictionaries(
    st.sampled_from(["accept-encoding", "content-type", "cookie", "host", "origin", "range"])
    | st.sampled_from(["sec-fetch-site", "x-forwarded-for", "x-forwarded-host"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.strip),
    max_size=3,
)
service_requests = st.tuples(bad_bodies | encoded(service_documents), st.just({}) | headers)
app_requests = st.tuples(bad_bodies | encoded(app_documents), st.just({}) | headers)
"""A body and further headers."""


# The tracker's: method, path and body

OPERATIONS = """upsertModel upsertBucket deleteRun createRunFiles deleteFiles createArtifact
createArtifactManifest updateArtifactManifest createArtifactFiles commitArtifact updateArtifact
useArtifact addAliases linkArtifact unlinkArtifact deleteArtifact deleteArtifactSequence""".split()
ARGUMENTS = """name entityName projectName modelName runName id runID artifactID files artifactFiles
artifactTypeName artifactCollectionName artifactManifestID artifactSequenceID aliases config digest
summaryMetrics metadata description tags state type clientID usedAs deleteAliases""".split()
FIELDS = """name runCount(filters: $f) run(name: $n) { history historyKeys config files { edges } }
run(name: $n) { sampledHistory(specs: $f) } runs(filters: $f, order: $n, first: $i) { edges { node }
} artifactTypes(first: $i) { edges } artifact(name: $n) { id state } nothing""".split("\n")

ids = st.builds(
    lambda kind, number: b64encode(f"{kind}:{number}".encode()).decode(),
    st.sampled_from(["Artifact", "Run", "Project", "ArtifactCollection", "Manifest"]),
    st.integers(-1, 4) | st.integers(),
)
words = st.sampled_from(["", "a", "lab", "model:latest", "..", "%", "v0"]) | texts | ids
values = words | st.lists(words, max_size=3) | anything | anything.map(json.dumps)
inputs = st.dictionaries(st.sampled_from(ARGUMENTS), values, max_size=8)
queries = st.lists(st.sampled_from(FIELDS) | texts, min_size=1, max_size=3).map(" ".join)
asked = st.one_of(
    st.builds(
        lambda name, given: {
            "query": f"mutation M($input: X!) {{ {name}(input: $input) {{ __typename }} }}",
            "variables": {"input": given},
        },
        st.sampled_from(OPERATIONS),
        inputs,
    ),
    st.builds(
        lambda fields, given: {
            "query": f'query Q {{ project(name: "a") {{ {fields} }} }}',
            "variables": given,
        },
        queries,
        st.fixed_dictionaries({"n": values, "f": values, "i": values}),
    ),
    st.dictionaries(st.sampled_from(["query", "variables", "operationName"]), anything),
    anything,
)
lines = st.lists(
    st.dictionaries(st.sampled_from(["_step", "loss"]) | texts, anything, max_size=3).map(
        json.dumps
    )
    | texts,
    max_size=3,
)
chunks = st.fixed_dictionaries(
    {"offset": st.integers(0, 9) | anything, "content": lines | anything}
)
streams = st.one_of(
    st.dictionaries(
        st.sampled_from(["wandb-history.jsonl", "wandb-summary.json", "output.log"]) | texts,
        chunks | anything,
        max_size=3,
    ).map(lambda files: {"files": files}),
    st.dictionaries(st.sampled_from(["files", "complete", "exitcode", "dropped"]), anything),
    anything,
)


def path_of(*parts: str) -> str:
    return "/" + "/".join(quote(part.encode(errors="surrogatepass"), safe="") for part in parts)


tracker_requests = st.one_of(
    st.tuples(st.just("POST"), st.just("/graphql"), bad_bodies | encoded(asked)),
    st.tuples(st.just("POST"), st.just("/files/lab/a/a/file_stream"), encoded(streams)),
    st.tuples(st.just("PUT"), words.map(lambda token: path_of("-", "uploads", token)), bad_bodies),
    st.tuples(
        st.sampled_from(["GET", "HEAD", "POST", "DELETE"]),
        st.lists(st.sampled_from(["lab", "a", "runs", "artifacts", "-", "files"]) | words).map(
            lambda parts: path_of(*parts)
        ),
        st.just(b"") | bad_bodies,
    ),
)
