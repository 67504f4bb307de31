# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A model service: serverless and batched
#
# **Time:** 135 minutes
#
# **You will learn**
#
# - why the web page and the model live in two places, and what goes over the wire between them;
# - what AWS Lambda asks of a function: event, context and answer, and when it loads what;
# - how a service that fetches addresses is abused, and what a safe one checks;
# - after which answers to try again, and how long to wait first;
# - how to measure latency under load without flattering the service;
# - when batching pays, how to choose its two numbers, and what a month in the cloud costs.

# %% tags=["setup"]
# The set-up cell: `lab notebooks build` fills it in.

# %% [markdown]
# ## Split the app: front end and model service
#
# A web app can load the model into its own process. That is the simplest way, and the right one for
# a demonstration. It reaches its limits when more people come: a page of HTML takes a
# millisecond, but reading a page of handwriting keeps a whole core busy for a good part of a
# second, and needs PyTorch. So the two are split. The **front end** shows pages and takes pictures;
# the **model service** turns a picture into text and knows nothing of buttons.

# %%
import base64
import json
from collections.abc import Callable
from pathlib import Path

from lab_utils.figures import boxes, show, show_table, stacked_bars
from lab_utils.lessons.model_service import checks
from lab_utils.lessons.model_service import figures as draw
from lab_utils.model import packaged_recognizer
from text_recognizer.errors import RecognizerError

recognizer = packaged_recognizer()

# %%
senders = {"a browser": ["sends a picture"], "a phone": ["sends a picture"]}
copies = {f"model service {number}": ["gets JSON"] for number in (1, 2, 3)}
front = "front end"
arrows = [(sender, front) for sender in senders] + [(front, copy) for copy in copies]

# %%
show(
    boxes(senders | {front: ["small, always on"]} | copies, arrows, "Two places"),
    "Figure 1. Front end and model service; more copies start when there is work for them.",
    "Browsers send pictures to one front end; it posts JSON to up to three copies of the service.",
    width=600,
)

# %% [markdown]
# What you gain: each side gets the kind of machine that it needs, and as many as it needs. You can
# release a new model without touching the app. Anything that has a picture can ask the service: a
# phone app, or a nightly job. What it costs: the picture travels once more, and the network between
# the two can fail in ways that a function call cannot. Most of this notebook is about that cost.

# %% [markdown]
# ## 1. A function of an event
#
# With **AWS Lambda** you hand over a function instead of a server, and Amazon runs it when
# something happens. While nothing happens, you don't pay for a machine; that is what "serverless"
# means. The function has a fixed form, `handler(event, context)`:
#
# - **event**: what happened; a dict made from JSON, so it holds strings, numbers, lists and dicts.
# - **context**: facts about this call, such as its `aws_request_id`.
# - **answer**: what the function returns; it becomes JSON again, so bytes won't do.
#
# The lab's handler is [`lambda_handler.py`](../lab_utils/service/lambda_handler.py). The bytes of a
# picture aren't JSON, so they travel as base64 text. Call it here, in this process, with the
# smallest event:

# %%
from types import SimpleNamespace

from lab_utils.model import packaged_model
from lab_utils.service.lambda_handler import LambdaHandler

log: list[str] = []
service = LambdaHandler(recognizer, packaged_model(), log=log.append)
PAGE = "data/pages/show_font_002.jpg"
picture = base64.b64encode(Path(PAGE).read_bytes()).decode()
print(service({"image": picture}, SimpleNamespace(aws_request_id="request-1")))
print(service({"image": "hello"}, SimpleNamespace(aws_request_id="request-2")))

# %% [markdown]
# The second answer matters as much as the first. A handler that *raises* counts as broken: the
# caller gets an error that says nothing, and Lambda tries an event that nobody waits for twice
# more. So if the sender made a mistake, return an answer that says so; don't raise.
#
# Nobody watches a function while it runs, so it must leave notes. One line of JSON for each request
# can be searched and added up later; prose can't:

# %%
for line in log:
    record = json.loads(line)
    print({key: value for key, value in record.items() if "seconds" not in key})

# %% [markdown]
# Each line says how large the request was and how it ended (and how many seconds it took, left out
# here since that differs at each run). It does not say what was *read*: handwriting is private, and
# logs are read by many and kept for long.

# %% [markdown]
# ## 2. HTTP inside an event
#
# Browsers and programs speak HTTP. A **Function URL** is an address at which Lambda takes HTTP
# requests, packs each one into an event (payload format 2.0), and unpacks the answer. The lab has
# its own version of that step ([`function_url.py`](../lab_utils/service/function_url.py)). This is
# what a handler looks at in the event:

# %%
from lab_utils.service.function_url import event_of


def http_event(content_type: str, body: bytes) -> dict:
    headers = [("content-type", content_type)]
    return json.loads(event_of("POST", "/", "", headers, body, "198.51.100.7"))


event = http_event("application/json", json.dumps({"image": picture}).encode())
for name in ("version", "rawPath", "headers", "isBase64Encoded"):
    print(f"{name}: {event[name]}")
print("requestContext, http:", event["requestContext"]["http"])
print("body:", event["body"][:48], "...")

# %%
print(service(event))
event = http_event("application/octet-stream", json.dumps({"image": picture}).encode())
print("body:", event["body"][:48], "... isBase64Encoded:", event["isBase64Encoded"])
print(service(event)["body"])

# %% [markdown]
# Request and answer are packed twice: JSON text is the *body* within an event that is JSON itself.
# In the second half of the output, the content type is not a text type. Then `body` is base64 of
# the bytes, `isBase64Encoded` says so, and the picture is base64 within JSON within base64.
#
# The **status** tells the caller's program what to do, and the sentence in the body tells a person:
#
# | status | what happened | what the caller should do |
# |---|---|---|
# | 200 | here is the text | |
# | 400 | the service does not understand the request | fix the program |
# | 413 | too large | send a smaller picture |
# | 422 | well-formed, but this picture cannot be used | send another picture |
# | 500 | the service has a bug | tell its owner, who looks into the log |

# %% [markdown]
# ### Exercise 1: A handler (20 minutes)
#
# Difficulty ●●●○○ · Importance ●●●●●
#
# Write the handler for Function URL events. `read` is the model: it takes the bytes of an image and
# returns the text. If the image cannot be used, it raises `RecognizerError`, whose message is
# written for users. Anything else that it raises is a bug. Don't tell the sender anything about it:
# error messages contain paths, and sometimes secrets.
#
# The helper `answer` is given. Errors are `{"error": "a sentence"}`. (Why 4 million bytes? Lambda
# takes requests of 6 MB at most, and base64 makes a picture a third larger.)

# %% tags=["exercise"]
from typing import Any


def handle(
    event: dict[str, Any], read: Callable[[bytes], str], max_bytes: int = 4_000_000
) -> dict[str, Any]:
    """Answers a POST of {"image": base64 text} with {"pred": text}.

    Args:
        event: of a Function URL. "body" is JSON text, or base64 of it if "isBase64Encoded" is
            true; it may be missing, empty, or anything that somebody sends, such as 100,000
            opening brackets.
        read: takes the bytes of an image.
        max_bytes: the limit for a decoded image; a larger one is not given to `read`.

    Returns:
        "statusCode" 200, 400, 413, 422 or 500, "headers" and "body", as made by `answer`.
    """

    def answer(status: int, document: dict[str, str]) -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        return {"statusCode": status, "headers": headers, "body": json.dumps(document)}

    ### BEGIN SOLUTION
    try:
        body = event.get("body") or ""
        if event.get("isBase64Encoded"):
            body = base64.b64decode(body, validate=True)
        image = base64.b64decode(json.loads(body)["image"], validate=True)
    except (ValueError, TypeError, KeyError, RecursionError):
        return answer(400, {"error": 'Send JSON of the form {"image": "<base64>"}.'})
    if len(image) > max_bytes:
        return answer(413, {"error": f"Send an image of at most {max_bytes} bytes."})
    try:
        return answer(200, {"pred": read(image)})
    except RecognizerError as error:
        return answer(422, {"error": str(error)})
    except Exception:
        return answer(500, {"error": "The service failed; the reason is in its log."})
    ### END SOLUTION


# %% tags=["check"]
checks.handle(handle)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Go from the outside to the inside: body, base64 if the event says so, JSON, its `"image"`, base64.
# Every one of these steps may fail, with `ValueError` (which `json` and `base64` both raise),
# `TypeError` or `KeyError`. All of that is a 400, so put one `try` around them. `b64decode`
# silently skips what isn't base64, unless you pass `validate=True`.
#
# Call `read` in a second `try`. `RecognizerError` is a `ValueError`, too: with a single `try` for
# everything, a picture that cannot be used would look like a request that cannot be understood.
#
# </details>

# %% [markdown]
# Give it the real model, and what real people and robots send:

# %%
requests = {
    "a page": json.dumps({"image": picture}),
    "a text file": json.dumps({"image": base64.b64encode(b"Dear Sir or Madam").decode()}),
    "a form": "image=page.png",
    "nothing": None,
    "another field": '{"file": "page.png"}',
}
for what, body in requests.items():
    answer = handle({"body": body, "isBase64Encoded": False}, recognizer.predict)
    print(f"{what}: {answer['statusCode']} {answer['body']}")

# %% [markdown]
# The library's handler also takes data URIs and lists of images, and returns each line with its
# place and confidence when it is asked with `"lines": true`. One module defines the form of all
# this, [`schema.py`](../lab_utils/service/schema.py), which client and service share.

# %% [markdown]
# ## 3. A security hole: the caller chooses the address
#
# Sending an address instead of a picture is handy: `{"image_url": "https://..."}`. Here is how
# somebody in a hurry writes a handler for that. It even has a helpful error message.

# %%
from urllib.request import urlopen


def careless(event: dict) -> dict:
    data = urlopen(event["image_url"]).read()
    try:
        return {"pred": recognizer.predict(data)}
    except RecognizerError:
        return {"error": f"This is not an image: {data[:48]!r}"}


# %% [markdown]
# The caller chooses what *your* machine asks for. And your machine can reach what the outside world
# cannot: databases, admin pages, and the cloud's **metadata service**, which hands out keys to
# every program that asks from within, at `http://169.254.169.254/`. Here, a small stand-in for that
# service runs on this machine; like the real one, it was never meant for the outside world:

# %%
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from text_recognizer.places import lab_folder


class Metadata(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"AccessKeyId": "EXAMPLE", "SecretAccessKey": "..."}')

    def log_message(self, *_):
        pass


# %%
metadata = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
threading.Thread(target=metadata.serve_forever, daemon=True).start()
inside = f"http://127.0.0.1:{metadata.server_port}/latest/meta-data/"
print(careless({"image_url": inside}))
secret = lab_folder() / "secret.txt"
secret.write_text("password=hunter2")
print(careless({"image_url": secret.resolve().as_uri()}))  # file:///...

# %% [markdown]
# This is **server-side request forgery** (SSRF). A quieter error message would not close the hole:
# the time that an answer takes still shows which machines and ports exist, and some addresses *do*
# something when they are requested. In Lambda itself the runtime waits for its next event at an
# address on 127.0.0.1: anyone who can make the function send a request there gets the next user's
# picture.
#
# Check the address before anything is sent. Checking its *text* isn't enough, since one machine has
# many names:
#
# | address | goes to |
# |---|---|
# | `http://2130706433/`, `http://0x7f.1/` | 127.0.0.1, as one number, and partly in hexadecimal |
# | `http://images.example@127.0.0.1/` | 127.0.0.1: what comes before `@` is a user's name |
# | `http://[::ffff:169.254.169.254]/` | the metadata service: IPv4, written as IPv6 |
# | `http://harmless.example/` | wherever its owner's name server says, which may change each time |
#
# So look the name up, check the numeric addresses that come back, and then connect to **the very
# address that was checked**. If you look up again for the connection, you may get another answer;
# that is called DNS rebinding.

# %% [markdown]
# ### Exercise 2: A safe address (15 minutes)
#
# Difficulty ●●●●○ · Importance ●●●●●
#
# Return the address to connect to, or raise `AddressError`. Allow only `http` and `https`. *All*
# addresses that `resolve` gives for the host must belong to the public internet: those whose
# `is_global`, from the module `ipaddress`, is true. That is also true for the addresses of groups
# of machines (`is_multicast`), so refuse these yourself. Look the host up once, and return the
# first address.

# %% tags=["exercise"]
import ipaddress
from urllib.parse import urlsplit

from text_recognizer.errors import AddressError


def safe_address(url: str, resolve: Callable[[str], list[str]]) -> str:
    """The numeric address to connect to for a URL that a stranger sent.

    Args:
        url: any text.
        resolve: the numeric addresses (IPv4 and IPv6) of a host, as the system finds them; none
            if it knows no such host. Its answer may differ from one call to the next.

    Raises:
        AddressError: not http or https, no host, or not on the public internet.
    """
    ### BEGIN SOLUTION
    try:
        parts = urlsplit(url)
    except ValueError:
        raise AddressError("This is not a URL; look for brackets without a partner.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AddressError("Give an address of the form https://host/page.png.")
    addresses = resolve(parts.hostname)
    for address in addresses:
        ip = ipaddress.ip_address(address)
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if not ip.is_global or ip.is_multicast:
            raise AddressError(f"{parts.hostname} is not on the public internet.")
    if not addresses:
        raise AddressError(f"There is no host {parts.hostname}.")
    return addresses[0]
    ### END SOLUTION


# %% tags=["check"]
checks.safe_address(safe_address)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `urlsplit(url)` has `scheme` and `hostname`; the latter leaves out user, port and the brackets of
# IPv6, and is `None` if there is no host. Give it to `resolve` even if it looks like a number: the
# system knows all the ways to write an address. `ipaddress.ip_address(text)` makes an object of
# each address; an IPv6 one has `ipv4_mapped`, which is `None` for most.
#
# `not ip.is_private` is not the same as `ip.is_global`: providers share the addresses 100.64.0.0/10
# among their customers, and those are neither private nor global.
#
# </details>

# %% [markdown]
# Now try it with the system's own look-up:

# %%
import socket


def resolve(host: str) -> list[str]:
    return [where[0] for *_, where in socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM)]


for url in [inside, "http://2130706433/", "http://[::ffff:169.254.169.254]/", "http://8.8.8.8/"]:
    try:
        print("allowed:", safe_address(url, resolve))
    except AddressError as error:
        print("refused:", error)

# %% [markdown]
# A real client has more to do. It sends the name in the `Host` header, and checks the certificate
# against the *name* although it connects to an address. It limits how many bytes it takes and how
# long it waits. It checks again after **each redirect**; otherwise a public page could simply
# redirect it to an address inside. And there are more ways to carry an IPv4 address in an IPv6 one.
# All that is in [`fetching.py`](../text_recognizer/fetching.py), and the library's handler uses it:

# %%
print(service({"image_url": inside}))
print(service({"image_url": secret.resolve().as_uri()}))
metadata.shutdown()
metadata.server_close()
secret.unlink()

# %% [markdown]
# ## 4. What is loaded when
#
# When a request comes and no copy of the function is idle, Lambda starts one: a new process on a
# machine that may never have seen your code. This is a **cold start**. The copy imports your module
# once, in what is called the init phase, and then calls the handler for one request after another,
# *one at a time*. So whatever is slow and does not change belongs outside the handler. The lab's
# entry point is [`lambda_entry.py`](../lab_utils/service/lambda_entry.py); importing it loads the
# model. How long does that take here?

# %% tags=["timing"]
import os
import subprocess
import sys
import time

began = time.perf_counter()
program = "import lab_utils.service.lambda_entry"
environment = {**os.environ, "LAB_MODEL": str(packaged_model())}
subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, env=environment)
print(f"a process with PyTorch and the model: {time.perf_counter() - began:.1f} s")

# %%
show(
    stacked_bars(draw.START_SECONDS, "seconds", digits=2),
    "Figure 2. Three requests to a new copy, each with one line to read; recorded on one core.",
    "The first takes 1.1 seconds, most of it for importing torch; the others 0.04 seconds.",
    width=640,
)

# %% [markdown]
# The first request waits nearly thirty times as long as the others. Importing PyTorch is most of
# it, which is why the handler imports no training code and not even NumPy. And the first page takes
# longer than the second. By default, TorchScript would also watch the first run and optimize its
# code during the second, which would then be slow, too. The handler turns that off, since it gains
# nothing here. A benchmark with a single warm-up run may measure such a slow second run.
#
# A copy that is idle for some minutes is dropped. So if you have few users, most of them wait for a
# cold start (section 9 computes how many). And ten users at once need ten copies: ten cold starts.
# `python benchmarks/cold_start.py` measures the start on your machine, and that of a handler that
# loads the Lightning checkpoint instead.
#
# AWS sells two remedies. **Provisioned concurrency** keeps some copies loaded, and bills them while
# they wait. **SnapStart** restores a snapshot of a loaded copy; its
# [documentation](https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html) lists Python from
# 3.12 on, but no container images, which is what this lab deploys.

# %% [markdown]
# ## 5. The real runtime: front end here, model there
#
# Calling a Python function in this process proves little about a service. AWS publishes a program
# that runs functions locally, the **Runtime Interface Emulator**. The next cell starts two of them,
# each with AWS's runtime client and the lab's handler in its own process. A small gateway in front
# does what a Function URL does: it turns HTTP into an event, and the answer into HTTP. (In a
# terminal: `lab service lambda --workers 2`. The first time, it downloads the emulator. If that
# fails, if a function doesn't start, or if this isn't Linux, the handler runs in this process
# behind the same gateway, and the cell says so.)

# %% tags=["timing"]
from lab_utils.service.local import model_service

there, where = model_service(packaged_model(), workers=2, handler=service)
print(where, "Address:", there.url)

# %% [markdown]
# ### Exercise 3: Send an image to the service (15 minutes)
#
# Difficulty ●●○○○ · Importance ●●●●●
#
# Any program that speaks HTTP is a client now. Send an image to the address of a Function URL, as a
# POST of the JSON object `{"image": base64 text}`, and return what comes back. A 422 or 503 is an
# answer like any other: the caller looks at the status. Raise `ConnectionError` only if no answer
# comes at all: nobody listens, the connection breaks off, or 60 s pass. Use any library you like,
# such as `httpx`, which is installed here. The check has its own Function URL, and looks at the
# event that it makes from your request.

# %% tags=["exercise"]
import httpx


def ask_service(address: str, image: bytes) -> tuple[int, dict[str, str], str]:
    """Sends one image to a model service, and returns its answer, whatever the status.

    Args:
        address: of the service, such as "http://127.0.0.1:9000".
        image: the bytes of a file.

    Returns:
        Status, headers (names in small letters), and body.

    Raises:
        ConnectionError: there was no answer.
    """
    ### BEGIN SOLUTION
    document = {"image": base64.b64encode(image).decode()}
    try:
        reply = httpx.post(address, json=document, timeout=60)
    except httpx.TransportError as error:
        raise ConnectionError(f"No answer from {address}: {error}") from error
    return reply.status_code, dict(reply.headers), reply.text
    ### END SOLUTION


# %% tags=["check"]
checks.ask_service(ask_service)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `base64.b64encode` turns bytes into bytes; `.decode()` turns these into the text that JSON needs.
# `httpx.post(url, json=...)` writes the JSON and the content type; unlike `urllib`, it does not
# raise for a status such as 422. Its reply has `status_code`, `headers` (in small letters) and
# `text`. If something goes wrong before there is an answer, `httpx` raises a `TransportError`.
#
# </details>

# %% [markdown]
# Now invoke the lab's handler in the emulator. It gets a page, a text file, and nothing:

# %%
for image in (Path(PAGE).read_bytes(), b"Dear Sir or Madam", b""):
    status, headers, body = ask_service(there.url, image)
    print(f"{len(image):,} bytes: {status} {headers['content-type']} {body}")

# %% [markdown]
# Inside Python, nobody should have to think about all this. The lab's front end and its benchmarks
# take a **predictor**, as in [notebook 05](05_gradio_app.ipynb): an object with `predict(image)`
# and `read(image)`. There are two kinds, local and remote, and the caller doesn't have to know
# which one it has:

# %%
from lab_utils.predictors import RemotePredictor

remote = RemotePredictor(there.url)
print(remote.predict(PAGE))
[line] = remote.read(PAGE).lines
x0, y0, x1, y1 = line.box
print(f"confidence {line.confidence:.2f}, x {x0:.0f} to {x1:.0f}, y {y0:.0f} to {y1:.0f}")

# %% [markdown]
# So one argument turns the lab's web app into a front end: the app runs here and has no model; the
# model runs in the service. The cell starts the app and calls it as a program would, over its API:

# %%
from lab_utils.app import make_frontend

frontend = make_frontend(remote)
_, address, _ = frontend.launch(inline=False)
reply = httpx.post(f"{address}gradio_api/run/predict_base64", json={"data": [picture]}, timeout=60)
print(reply.status_code, reply.json()["data"])
frontend.close()

# %% [markdown]
# In a terminal that is two commands, on two machines if you like: `lab service lambda` on one, and
# `lab app --model-url http://...` on the other. An error keeps its sentence, wherever it is found.
# Here the first image is refused on this side, before it costs a request, and the second one by the
# service:

# %%
for image in (b"Dear Sir or Madam", "http://169.254.169.254/latest/meta-data/"):
    try:
        remote.predict(image)
    except RecognizerError as error:
        print(f"{type(error).__name__}: {error}")

# %% [markdown]
# ## 6. Retries: when to ask again
#
# A function call either returns or raises. A request can also get no answer because a cable is
# pulled, a copy is just being replaced, or there are more requests than copies. Most of these
# problems are gone a second later, so a good client asks again. But not always:
#
# | what came | ask again? |
# |---|---|
# | 429 too many requests, 503 busy | yes, and not before the seconds in the header `retry-after` |
# | 502 a copy died, or the connection failed | yes: reading a page twice does no harm |
# | 400, 413, 422 | no: the same request gets the same answer |
# | 500 a bug | no: it is the same bug the next time |
# | any other status | no: nobody promised that waiting helps |
#
# *How* you ask again is just as important. An overloaded service gets every refused request a
# second time; if clients ask again at once, its load doubles. So wait twice as long each time
# (**back-off**), and randomise each wait (**jitter**); otherwise clients that were refused together
# come back together.

# %% [markdown]
# ### Exercise 4: Retry with back-off and a limit (20 minutes)
#
# Difficulty ●●●●○ · Importance ●●●●○
#
# `ask()` makes one request and returns status, headers and body, or raises `ConnectionError`. Ask
# until you get an answer that asking again would not change, or until patience runs out, and return
# the last answer. Count a `ConnectionError` as the answer `(503, {}, "")`; other exceptions are
# bugs, so let them pass through.
#
# The wait before retry 1, 2, 3, ... is the number of seconds in `retry-after`, if that header is
# there, plus a random part: `draw()` times `first`, `2 * first`, `4 * first`, ... If this wait
# would make the sum of all waits greater than `patience`, don't wait any more and return. HTTP also
# allows a date in `retry-after`; count whatever isn't a whole number of seconds as 0.


# %% tags=["exercise"]
def ask_patiently(
    ask: Callable[[], tuple[int, dict[str, str], str]],
    sleep: Callable[[float], None],
    draw: Callable[[], float],
    first: float = 0.25,
    patience: float = 10.0,
) -> tuple[int, dict[str, str], str]:
    """The last answer of a service that may be busy.

    Args:
        ask: status, headers (names in small letters) and body. Raises ConnectionError if
            nobody answers.
        sleep: waits that many s.
        draw: a random number from 0 to 1, a new one at each call.
        first: s; longest random part of the first wait, doubled for each one that follows.
        patience: s; the most that all waits together may take.
    """
    ### BEGIN SOLUTION
    waited, longest = 0.0, first
    while True:
        try:
            answer = ask()
        except ConnectionError:
            answer = (503, {}, "")
        status, headers, _ = answer
        asked_for = headers.get("retry-after", "")
        wait = (float(asked_for) if asked_for.isdecimal() else 0.0) + draw() * longest
        if status not in (429, 502, 503) or waited + wait > patience:
            return answer
        sleep(wait)
        waited, longest = waited + wait, longest * 2
    ### END SOLUTION


# %% tags=["check"]
checks.ask_patiently(ask_patiently)

# %% [markdown]
# <details><summary>Hint</summary>
#
# A `while True` with two variables outside: the sum of the waits so far, and the longest random
# part of the next one. In the loop: ask, compute the wait, decide whether to return, sleep, add and
# double. `retry-after` is text. Double the longest part, not the one that was drawn; otherwise one
# small number keeps all later waits short.
#
# </details>

# %% [markdown]
# `sleep` and `draw` are arguments, so you can simulate the waits without waiting. Sixty clients are
# refused at the same moment by a service that stays busy. When do they come back if `draw` always
# gives 1, and when if it gives random numbers?

# %%
import random


def comes_back(draw: Callable[[], float]) -> list[float]:
    moments = [0.0]
    ask_patiently(
        ask=lambda: (503, {}, ""),
        sleep=lambda seconds: moments.append(moments[-1] + seconds),
        draw=draw,
        patience=8.0,
    )
    return moments[1:]


# %%
storm = {
    "without jitter, draw() is always 1": [t for _ in range(60) for t in comes_back(lambda: 1.0)],
    "with jitter": [t for n in range(60) for t in comes_back(random.Random(n).random)],
}

# %%
show(
    draw.retry_storm(storm, last=8.0),
    "Figure 3. When sixty refused clients ask again, without and with jitter.",
    "Above, five bars of sixty requests and nothing between; below, low bars that thin out.",
    width=620,
)

# %% [markdown]
# Without jitter, five waves of sixty hit a service that could have served them one after another.
# With a real clock, real random numbers and your `ask_service`, the function is a client:

# %%
image = Path(PAGE).read_bytes()
status, _, body = ask_patiently(lambda: ask_service(there.url, image), time.sleep, random.random)
print(status, json.loads(body)["pred"])

# %% [markdown]
# `RemotePredictor` does the same as your function, and also has one deadline for all attempts
# together, so that slow answers count, too ([`retrying.py`](../lab_utils/predictors/retrying.py)).

# %% [markdown]
# ## 7. How slow is it, really?
#
# People judge a service by its slow answers. A mean hides them, so we report **percentiles** of the
# latency: half of the requests stay below p50, and 95 of 100 stay below p95.
#
# How do you measure them? The obvious loop sends a request, waits for the answer, and sends the
# next (**closed loop**). Real users don't wait for each other (**open loop**): requests come at
# random times, at some rate, whatever the service is doing. The difference is dramatic, and you
# don't need a server to see it. Take a service that needs 0.2 s for a request, and once, for one of
# them, 5 s (a cold start, say), and test it for a minute in both ways.

# %%
from lab_utils.service.queueing import poisson_arrivals, simulate_queue

work = [0.2] * 100 + [5.0] + [0.2] * 400  # seconds for each request, in the order of service

closed, now = [], 0.0
for seconds in work:
    closed.append((now, now, now + seconds))  # should be sent, was sent, was answered
    now += seconds
closed = [request for request in closed if request[0] < 60]

scheduled, seconds_of = poisson_arrivals(rate=4, count=240, seed=1), iter(work)
answered = simulate_queue(scheduled, lambda size: next(seconds_of))
opened = [(start, start, end) for start, end in zip(scheduled, answered, strict=True)]

# %% [markdown]
# `poisson_arrivals` draws the moments at which independent users arrive. `simulate_queue` is the
# simulated queue of [notebook 04](04_batch_size_profiling.ipynb): a server takes the requests one
# after the other, and each waits until those before it are done.

# %% [markdown]
# ### Exercise 5: A percentile that does not flatter (10 minutes)
#
# Difficulty ●●○○○ · Importance ●●●●○
#
# Each request is given by three times: when it *should* have been sent, when it *was*, and when its
# answer came (`None` if none came). The latency starts when it should have been sent: a tester that
# is held up by a slow answer would otherwise not count the waiting that this answer causes. (Gil
# Tene named this mistake coordinated omission.) The latency of a request without an answer is
# infinite.
#
# Return the smallest latency that `percent` of 100 requests don't exceed. Sort the latencies: it is
# the one at position `percent * count / 100`, rounded up and counted from 1.

# %% tags=["exercise"]
import math


def percentile_latency(
    requests: list[tuple[float, float, float | None]], percent: int = 95
) -> float:
    """The latency in s that `percent` of 100 requests do not exceed.

    It is `math.inf` if too few have an answer.

    Args:
        requests: at least one; when it should have been sent, when it was, and when its answer
            came, all in s. None: no answer.
        percent: 1 to 100.
    """
    ### BEGIN SOLUTION
    latencies = sorted(
        math.inf if answered is None else answered - scheduled
        for scheduled, _, answered in requests
    )
    return latencies[math.ceil(percent * len(latencies) / 100) - 1]
    ### END SOLUTION


# %% tags=["check"]
checks.percentile_latency(percentile_latency)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Make a list of all latencies, with `math.inf` if there is no answer, and sort it. Multiply before
# you divide, `percent * count / 100`: a computer can't store 0.95 exactly. Rounding up is
# `math.ceil`, and lists count from 0.
#
# </details>

# %%
show_table(
    [
        [name, len(test), *[f"{percentile_latency(test, p):.1f}" for p in (50, 95, 99)]]
        for name, test in {"closed loop": closed, "open loop, 4 a second": opened}.items()
    ],
    ["test of one minute", "requests", "p50 (s)", "p95 (s)", "p99 (s)"],
    "Table 1. The same service, tested in two ways.",
)

# %%
show(
    draw.latencies({"closed loop": closed, "open loop": opened}),
    "Figure 4. The latency of each request of both tests.",
    "The closed loop shows 0.2 s and once 5 s; the open loop jumps to 5 s, climbs to 7 s, and "
    "comes down over half a minute.",
    width=620,
)

# %% [markdown]
# The closed loop saw the 5 s once, among 276 requests, and its p99 says that all is well: while the
# service was stuck, the tester waited, too. Real users keep coming. Twenty of them piled up, and
# since the service is busy 80 % of the time anyway, it took half a minute to catch up. Of all users
# in that minute, half waited 1.4 s or longer.
#
# That is the second lesson: **waiting depends on how busy the service is**, long before it is full.

# %%
rates = [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.25, 4.5, 4.75]


def latency_at(rate: float, percent: int) -> float:
    arrivals = poisson_arrivals(rate, count=4000, seed=3)
    answered = simulate_queue(arrivals, lambda size: 0.2)
    sent = [(start, start, end) for start, end in zip(arrivals, answered, strict=True)]
    return percentile_latency(sent, percent)


curves = {f"p{p}": {rate: latency_at(rate, p) for rate in rates} for p in (50, 95)}

# %%
show(
    draw.latency_by_rate(curves, highest=4.0, quantity="latency (s)"),
    "Figure 5. A server that needs 0.2 s for a request could do 5 a second, but shouldn't have to.",
    "Both curves start low and bend upwards; p95 passes 1 s before 3.5 requests a second.",
    width=620,
)

# %% [markdown]
# No server can run near its full capacity without long waits, unless requests come at even
# intervals. To keep p95 within 1 s here, accept just under 3.5 requests a second, two thirds of
# what the server can do.
#
# Now the real service. `send_open_loop` keeps to a timetable, each request in its own thread. The
# cell first measures what a single page takes. Then it sends 40 requests at each of three rates:
# 0.4, 0.8 and 3 times what two functions should manage. A request that finds the queue full is
# refused, and counts as infinitely late: `inf`.

# %% tags=["timing"]
from lab_utils.service.open_loop import send_open_loop

impatient = RemotePredictor(there.url, retries=0)
single = send_open_loop(lambda: impatient.predict(PAGE), [0.3 * n for n in range(6)])
seconds = percentile_latency(single, 50)
print(f"single: {seconds:.2f} s")
for share in (0.4, 0.8, 3):
    rate = share * 2 / seconds
    sent = send_open_loop(lambda: impatient.predict(PAGE), poisson_arrivals(rate, 40))
    p50, p95 = percentile_latency(sent, 50), percentile_latency(sent, 95)
    print(f"{rate:4.1f} requests a second: p50 {p50:.2f} s, p95 {p95:.2f} s")

# %% [markdown]
# On a machine with two cores, the client, the gateway and two functions share them, so the limit
# comes sooner than the arithmetic says. That, too, is what load tests are for.

# %%
there.close()

# %% [markdown]
# ## 8. Dynamic batching
#
# Most requests hold one page. A device that does thousands of things at once takes only a little
# longer for eight pages than for one, because one page leaves most of it idle. **Dynamic batching**
# collects requests that come one by one, reads them together, and hands each its own answer. It has
# the two settings that you know from notebook 04:
#
# - **max batch**: how many requests are read together, at most;
# - **max wait**: how long the first one waits for others while the device is free.
#
# Whether batching pays depends on what a batch costs; notebook 04 measures that. The CPU's columns
# of table 2 were recorded with the lab's recognizer on one core, without the language model. The
# other two belong to an *imagined* device, which takes 30 ms for any batch and 4 ms for each page
# in it.

# %%
MEASURED = draw.CPU_BATCH_SECONDS  # {1: ..., 2: ..., 4: ..., 8: ...}


def cpu(size: int) -> float:
    return MEASURED[8] / 8 * size


def imagined(size: int) -> float:
    return 0.030 + 0.004 * size


# %%
show_table(
    [
        [n, f"{total:.2f}", f"{total / n:.2f}", f"{imagined(n):.3f}", f"{imagined(n) / n:.3f}"]
        for n, total in MEASURED.items()
    ],
    ["pages", "CPU: batch (s)", "CPU: page (s)", "imagined: batch (s)", "imagined: page (s)"],
    "Table 2. What a batch takes: measured on one CPU core, and imagined.",
)

# %% [markdown]
# A single page already keeps one core busy. Eight pages take eight times as long, which is what
# `cpu` above assumes. The imagined device reads eight in less than twice the time of one. What does
# that do to the p95?


# %%
def p95(max_batch: int, max_wait: float, rate: float, seconds_of=imagined) -> float:
    arrivals = poisson_arrivals(rate, count=1500, seed=5)
    answered = simulate_queue(arrivals, seconds_of, max_batch, max_wait)
    sent = [(start, start, end) for start, end in zip(arrivals, answered, strict=True)]
    return percentile_latency(sent, 95)


# %%
cpu_rates, many_rates = [0.5, 1.0, 1.7, 2.5, 3.4, 3.8, 4.2], [5.0, *range(10, 130, 10)]
curves = {f"max batch {n}": {r: p95(n, 0.0, r, cpu) for r in cpu_rates} for n in (1, 8)}
show(
    draw.latency_by_rate(curves, highest=4.0),
    "Figure 6. On a CPU core, batches only make requests wait for each other.",
    "Two curves that bend upwards at the same rate; the one of batch 8 lies above that of batch 1.",
    width=560,
)

# %%
curves = {f"max batch {n}": {r: p95(n, 0.0, r) for r in many_rates} for n in (1, 2, 4, 8)}
show(
    draw.latency_by_rate(curves, highest=0.6),
    "Figure 7. On the imagined device, larger batches handle several times the rate.",
    "Four curves; each bends upwards steeply, batch 1 below 30 a second, batch 8 beyond 110.",
    width=560,
)

# %% [markdown]
# You promise that p95 stays within 0.2 s. How many requests a second can each setting handle before
# it misses that target? (In notebook 04 you chose such a setting yourself.)

# %%
from itertools import takewhile


def most_requests(max_batch: int, max_wait: float, target: float = 0.2) -> float:
    kept = takewhile(lambda rate: p95(max_batch, max_wait, rate) <= target, many_rates)
    return max(kept, default=0.0)


show_table(
    [[n, *(most_requests(n, wait) for wait in (0.0, 0.02, 0.1))] for n in (1, 2, 4, 8)],
    ["max batch", "no wait", "wait 0.02 s", "wait 0.1 s"],
    "Table 3. Requests a second that the imagined device handles within 0.2 s, by batch and wait.",
)

# %% [markdown]
# No wait at all is best? Many find that surprising. But while the server is busy, the next batch
# gathers by itself, and the busier the server is, the larger the batch. No request has to wait on
# purpose for that. So what does waiting buy? Look at 20 requests a second, where there is time to
# spare:


# %%
def busy_share(max_wait: float, rate: float = 20.0) -> float:
    batches, arrivals = [], poisson_arrivals(rate, count=1500, seed=5)
    answered = simulate_queue(arrivals, lambda n: batches.append(n) or imagined(n), 8, max_wait)
    return sum(map(imagined, batches)) / answered[-1]


# %%
show_table(
    [[wait, round(p95(8, wait, 20.0), 2), f"{busy_share(wait):.0%}"] for wait in (0.0, 0.05, 0.2)],
    ["max wait (s)", "p95 (s)", "device busy"],
    "Table 4. At 20 requests a second and at most 8 in a batch, waiting trades time for work.",
)

# %% [markdown]
# Waiting saves *work*: fewer, fuller batches. That is worth something if the device is shared or
# paid by the second, but in quiet hours it makes every single user wait.
#
# **Ray Serve** does this on one machine or many. Its core is a method that takes a list, although
# each caller gives a single item:
#
# ```python
# @serve.deployment(num_replicas=2, max_ongoing_requests=16, max_queued_requests=32)
# class PageReader:
#     def __init__(self):
#         self.recognizer = ParagraphTextRecognizer()
#
#     @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.01)
#     async def read(self, pages: list[bytes]) -> list[str]:
#         return self.recognizer.predict_batch(pages)
# ```
#
# `max_queued_requests` sheds load: when that many are waiting, a new request gets a 503 at once,
# and its sender asks again later, as in section 6. That is better than an answer that comes after
# the user has given up. The lab's version, [`ray_service.py`](../lab_utils/service/ray_service.py),
# decodes and checks each page *before* it joins a batch, so that a broken page doesn't spoil the
# others, and it lets a batch gather while the one before is being read, as in the simulation. If
# Ray is installed, `lab service ray --allow-open-ports` starts it, and `python
# benchmarks/service_load.py` sends it the same arrivals with and without batches.

# %% [markdown]
# ## 9. Deploy to AWS
#
# `lab deploy lambda` brings the service of section 5 to Lambda, as a stack of AWS CloudFormation:
# the file [`template.yaml`](../deploy/template.yaml) lists what should exist, and CloudFormation
# creates what is missing. By default, the command only shows a plan, which needs no account. These
# are the resources that the file describes:

# %%
from lab_utils.deploy.template import parameters, resources

for name, kind in resources(parameters()).items():
    print(f"{name}: {kind}")

# %% [markdown]
# A container image with the handler and the model goes into a repository. A role says what the
# function may do: write its log, nothing else. So there is little to steal through a hole like the
# one in section 3. The function has a reserved concurrency, which limits how many copies run at
# once, and so the bill. Its URL accepts only requests that are signed with an account's key;
# `--auth NONE` opens it, and then anyone who knows the address spends your money. Alarms report
# when the function fails, refuses requests or is slow. `lab deploy lambda --apply` creates all of
# this and `lab deploy destroy` removes it; both need an account.
#
# What does it cost? Lambda bills the seconds in which the function works, times the memory it was
# given, and a little for each request:
#
# > dollars = pages × (seconds × GB × price of a GB for a second + price of a request)
#
# Cold starts come on top, and so does a little for images, logs and alarms. The prices are
# assumptions in [`costs.py`](../lab_utils/deploy/costs.py): check them before you rely on a total.
# The table also has the cost of a small machine that is always on.

# %%
from lab_utils.deploy.costs import cold_share, front_end_cost, lambda_costs

months = [10**power for power in range(2, 8)]
on_lambda = [lambda_costs(pages, memory=3008).total for pages in months]

# %%
show_table(
    [
        [pages, f"{cold_share(pages):.0%}", round(dollars, 2), round(front_end_cost(), 2)]
        for pages, dollars in zip(months, on_lambda, strict=True)
    ],
    ["pages a month", "cold starts", "Lambda (USD)", "small machine (USD)"],
    "Table 5. A month of the service, and how many requests wait for a cold start.",
)

# %%
show(
    draw.costs(months, {"Lambda": on_lambda, "small machine": [front_end_cost()] * len(months)}),
    "Figure 8. With few users, Lambda costs next to nothing; with many, it costs more.",
    "Lambda's costs rise with the pages and cross the level line of the machine below a million.",
    width=560,
)

# %% [markdown]
# Read the table from both ends. At a hundred pages a month the service is practically free, and
# almost everybody waits for a cold start. At ten million pages nobody waits, and the bill would pay
# for fifteen of the small machines. (A single one isn't enough: it reads one page at a time.) In
# between lies what serverless was made for: uneven load that nobody wants to plan for.

# %% [markdown]
# ## Summary
#
# - The front end is cheap and always on, the model is neither; a predictor hides where it runs.
# - A handler is a function from event to answer. Each kind of error has its status, and a sentence
#   that says what to do; bugs go to the log and not to the sender.
# - If you fetch addresses that strangers send, look each one up once, check the numeric address,
#   connect to that one, and check again after each redirect.
# - What is slow and does not change is loaded outside the handler. Cold starts hit services that
#   few people use, and sudden crowds.
# - Ask again only if that helps: after a longer, random wait each time, and not for ever.
# - Latency counts from when a request was due. It rises long before a service is full.
# - Batches pay if a single request leaves the hardware idle; they gather by themselves under load.

# %% [markdown]
# ## What to try next
#
# - In [`lambda_entry.py`](../lab_utils/service/lambda_entry.py), read a page twice after `load()`,
#   as a warm-up. Which parts of the first bar in figure 2 would become shorter, which longer, and
#   who pays for the time of the warm-up?
# - Give `simulate_queue` two servers (`servers=2`) at twice the rate of figure 5. Why is the p95
#   lower, although each server is as busy as before?
# - Take the curve that [notebook 04](04_batch_size_profiling.ipynb) measures on a Colab GPU, use
#   its numbers instead of those of `imagined`, and choose again.
# - In a terminal, start `lab service lambda --workers 1` and `lab app --model-url ...` with its
#   address, stop the service while a page is being read, start it again, and watch the app.
# - **Next:** [A public HTTPS link](07_public_url.ipynb), which gives the app an address that a
#   phone elsewhere can open.
