"""Typical mistakes in the exercises of notebook 05, and what the check must say about each."""

READ_PAGE = """
import gradio as gr
from text_recognizer.errors import RecognizerError

def read_page(path, predictor, doubtful=0.5):
    if path is None:
        raise gr.Error("Choose an image first.", print_exception=False)
    try:
        reading = predictor.read(path)
    except {caught} as error:
        {told}
    few = sum(line.confidence {below} for line in reading.lines)
    count = len(reading.lines)
    if not count:
        return "", "{nothing}"
    return reading.text, f"{{count}} line{plural}, {{few}} doubtful"
"""
RIGHT = {
    "caught": "RecognizerError",
    "told": "raise gr.Error(str(error), print_exception=False) from None",
    "below": "< doubtful",
    "nothing": "no writing found",
    "plural": "{'s' * (count != 1)}",
}

PREDICT_BODY = """
import base64

from text_recognizer.errors import RecognizerError

KINDS = {{b"\\x89PNG": "png", b"\\xff\\xd8\\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}}

def predict_body(image):
    kind = next((k for start, k in KINDS.items() if image.startswith(start)), None)
    if kind is None or (kind == "webp" and image[8:12] != b"WEBP"):
        {otherwise}
    text = {text}
    return {body}
"""
OTHERWISE = 'raise RecognizerError("Give a PNG, JPEG, GIF or WebP image.")'
BASE64 = "base64.b64encode(image).decode()"
BODY = '{"data": [{"url": f"data:image/{kind};base64,{text}"}]}'

ASK = """
import json
import urllib.error
import urllib.request

from text_recognizer.errors import RecognizerError

def ask(url, body, timeout=10.0):
    {body}
"""
REQUEST = """request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    """

FINAL_DATA = """
import json

from text_recognizer.errors import RecognizerError

def final_data(stream):
    {body}
"""

IS_BLANK = """
import numpy as np
from PIL import ImageFilter

def is_blank(page):
    {body}
"""

BUILD_PAGE = """
import gradio as gr

def build_page(read):
    with gr.Blocks() as page:
        image, button = gr.Image({kind}), gr.Button("Read")
        text, summary = gr.Textbox(), gr.Textbox()
        {event}
    return page
"""
PATHS = 'type="filepath"'

WRONG_ANSWERS: dict[str, list[tuple[str, str]]] = {
    "read_page": [
        (
            "def read_page(path, predictor, doubtful=0.5):\n    return predictor.read(path).text",
            "returned a str, not tuple",
        ),
        (
            """
def read_page(path, predictor, doubtful=0.5):
    lines = predictor.read(path).lines
    few = sum(line.confidence < doubtful for line in lines)
    return predictor.predict(path), f"{len(lines)} lines, {few} doubtful"
""",
            "not once for 'page.png'",
        ),
        (READ_PAGE.format(**RIGHT | {"below": "<= doubtful"}), "'3 lines, 2 doubtful', not"),
        (READ_PAGE.format(**RIGHT | {"below": "< 0.5"}), "compare with the argument"),
        (READ_PAGE.format(**RIGHT | {"plural": "s"}), "One line is a line"),
        (
            READ_PAGE.format(**RIGHT | {"nothing": "0 lines, 0 doubtful"}),
            "A page without lines is said to be so",
        ),
        (
            READ_PAGE.format(**RIGHT).replace("if path is None", "if False"),
            r"path is None\), read_page returned",
        ),
        (READ_PAGE.format(**RIGHT | {"told": "raise"}), "stopped with ImageError.*the word Error"),
        (
            READ_PAGE.format(**RIGHT | {"told": "return str(error), 'error'"}),
            "raises a RecognizerError, read_page returned",
        ),
        (
            READ_PAGE.format(**RIGHT | {"told": "raise gr.Error(f'Error: {error}')"}),
            "hand over the sentence as it is",
        ),
        (
            READ_PAGE.format(**RIGHT | {"told": "raise gr.Error(str(error))"}),
            "print_exception=False",
        ),
        (
            READ_PAGE.format(**RIGHT | {"caught": "Exception"}),
            "has a bug.*stopped with Error, not KeyError: catch only RecognizerError",
        ),
    ],
    "build_page": [
        (
            BUILD_PAGE.format(
                kind="", event='button.click(read, image, [text, summary], api_name="read_page")'
            ),
            "not with the path of a file",
        ),
        (
            BUILD_PAGE.format(kind=PATHS, event="button.click(read, image, [text, summary])"),
            "has no endpoint named read_page",
        ),
        (
            BUILD_PAGE.format(
                kind=PATHS, event='button.click(read, image, text, api_name="read_page")'
            ),
            "outputs are .'textbox'., and should be",
        ),
        (
            BUILD_PAGE.format(
                kind=PATHS,
                event="button.click(lambda path: read(path)[::-1], image, [text, summary], "
                'api_name="read_page")',
            ),
            "name the text's box first",
        ),
        (
            BUILD_PAGE.format(
                kind=PATHS,
                event='image.change(read, image, [text, summary], api_name="read_page")',
            ),
            "use the click of a gr.Button",
        ),
        (
            BUILD_PAGE.format(
                kind=PATHS,
                event='button.click(lambda path: read(path) if path else ("", ""), image, '
                '[text, summary], api_name="read_page")',
            ),
            "without an image",
        ),
    ],
    "predict_body": [
        (
            PREDICT_BODY.format(
                otherwise=OTHERWISE,
                text="base64.b64encode(image)",
                body=BODY,
            ),
            "starts with b', as bytes are printed",
        ),
        (
            PREDICT_BODY.format(
                otherwise=OTHERWISE, text="base64.encodebytes(image).decode()", body=BODY
            ),
            "line breaks",
        ),
        (
            PREDICT_BODY.format(
                otherwise=OTHERWISE, text="base64.urlsafe_b64encode(image).decode()", body=BODY
            ),
            "the alphabet for addresses",
        ),
        (
            PREDICT_BODY.format(otherwise=OTHERWISE, text=BASE64, body=BODY).replace(
                "{kind};", "png;"
            ),
            "was called image/png, not image/jpeg",
        ),
        (
            PREDICT_BODY.format(otherwise='kind = "png"', text=BASE64, body=BODY),
            "predict_body returned .*raise RecognizerError",
        ),
        (
            PREDICT_BODY.format(otherwise=OTHERWISE, text=BASE64, body=BODY).replace(
                "image[8:12]", "b'WEBP'"
            ),
            "WAVE.*raise RecognizerError",
        ),
        (
            PREDICT_BODY.format(
                otherwise=OTHERWISE,
                text=BASE64,
                body='{"data": [f"data:image/{kind};base64,{text}"]}',
            ),
            "refuses a bare string",
        ),
        (
            PREDICT_BODY.format(
                otherwise=OTHERWISE,
                text=BASE64,
                body='{"data": {"url": f"data:image/{kind};base64,{text}"}}',
            ),
            "a list with one value",
        ),
        (
            PREDICT_BODY.format(otherwise=OTHERWISE, text=BASE64, body='{"data": [{"url": text}]}'),
            "the url starts with",
        ),
    ],
    "ask": [
        (
            ASK.format(
                body="""with urllib.request.urlopen(url, timeout=timeout) as answer:
        return json.load(answer)["data"][0]"""
            ),
            "a body is sent with the method POST",
        ),
        (
            ASK.format(
                body="""request = urllib.request.Request(url, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)["data"][0]"""
            ),
            "Content-Type was application/x-www-form-urlencoded",
        ),
        (
            ASK.format(
                body="""request = urllib.request.Request(
        url, str(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)["data"][0]"""
            ),
            "body is not JSON",
        ),
        (
            ASK.format(
                body=REQUEST
                + """with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)["data"]"""
            ),
            "returned a list, not str",
        ),
        (
            ASK.format(
                body=REQUEST
                + """with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)["data"][0]"""
            ),
            "stopped with HTTPError",
        ),
        (
            ASK.format(
                body=REQUEST
                + """try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)["data"][0]
    except urllib.error.HTTPError as error:
        raise RecognizerError(f"The app answered with {error.code}.") from None"""
            ),
            "hand over the sentence as it is",
        ),
        (
            ASK.format(
                body=REQUEST
                + """try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)["data"][0]
    except urllib.error.HTTPError as error:
        raise RecognizerError(json.load(error)["error"]) from None"""
            ),
            "answer {\"error\": null}, ask says 'None'",
        ),
        (
            ASK.format(
                body=REQUEST
                + """try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)["data"][0]
    except urllib.error.HTTPError as error:
        sentence = json.load(error).get("error")
        raise RecognizerError(sentence or f"The app answered with {error.code}.") from None"""
            ),
            "502 Bad Gateway.*stopped with JSONDecodeError",
        ),
        (
            ASK.format(
                body=REQUEST
                + """try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["data"][0]
    except urllib.error.HTTPError as error:
        try:
            sentence = json.load(error)["error"] or f"The app answered with {error.code}."
        except Exception:
            sentence = f"The app answered with {error.code}."
        raise RecognizerError(sentence) from None
    except Exception as error:
        raise RecognizerError(f"No text came: {error}.") from None"""
            ),
            "no answer comes within timeout=0.1 s, ask returned 'late'",
        ),
        (
            ASK.format(
                body=REQUEST
                + """try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)["data"][0]
    except urllib.error.HTTPError as error:
        try:
            sentence = json.load(error)["error"] or f"The app answered with {error.code}."
        except Exception:
            sentence = f"The app answered with {error.code}."
        raise RecognizerError(sentence) from None
    except (ValueError, LookupError, TypeError, TimeoutError) as error:
        raise RecognizerError(f"No text came: {error}.") from None"""
            ),
            "no server is there any more, ask stopped with URLError",
        ),
    ],
    "final_data": [
        (
            FINAL_DATA.format(
                body="""last = None
    for line in stream:
        if line.startswith(b"data: "):
            last = json.loads(line[6:])
    return last"""
            ),
            "went on reading",
        ),
        (
            FINAL_DATA.format(
                body="""for line in stream:
        if line.startswith(b"data: "):
            return json.loads(line[6:])"""
            ),
            "two heartbeats come before complete|returned None",
        ),
        (
            FINAL_DATA.format(
                body="""event = ""
    for line in stream:
        name, _, value = line.decode().strip().partition(": ")
        if name == "event":
            event = value
        elif name == "data" and event in ("complete", "generating"):
            return json.loads(value)
        elif name == "data" and event == "error":
            raise RecognizerError(json.loads(value)["error"])
    raise RecognizerError("The stream broke off.")"""
            ),
            r"a generating event .* comes first, final_data returned \['Dear'\]",
        ),
        (
            FINAL_DATA.format(
                body="""event = ""
    for line in stream:
        name, _, value = line.decode()[:-1].partition(": ")
        if name == "event":
            event = value
        elif name == "data" and event == "complete":
            return json.loads(value)
        elif name == "data" and event == "error":
            raise RecognizerError(json.loads(value)["error"])"""
            ),
            "final_data returned None",
        ),
        (
            FINAL_DATA.format(
                body="""events = b"".join(stream).decode().split("\\n\\n")
    for event in events:
        if "error" in event:
            raise RecognizerError(json.loads(event.split("data: ")[1])["error"])
        if "complete" in event:
            return json.loads(event.split("data: ")[1])
    raise RecognizerError("The stream broke off.")"""
            ),
            "text looks like events|stopped with JSONDecodeError",
        ),
        (
            FINAL_DATA.format(
                body="""event = ""
    for line in list(stream):
        name, _, value = line.decode().strip().partition(": ")
        if name == "event":
            event = value
        elif name == "data" and event == "complete":
            return json.loads(value)
        elif name == "data" and event == "error":
            raise RecognizerError(json.loads(value)["error"])
    raise RecognizerError("The stream broke off.")"""
            ),
            "don't make a list of the stream",
        ),
        (
            FINAL_DATA.format(
                body="""event = ""
    for line in stream:
        name, _, value = line.decode().strip().partition(": ")
        if name == "event":
            event = value
        elif name == "data" and event == "complete":
            return json.loads(value)
        elif name == "data" and event == "error":
            raise RecognizerError(json.loads(value)["error"])
    raise RecognizerError("The stream broke off.")"""
            ),
            "the data {\"error\": null}, final_data says 'None'",
        ),
        (
            FINAL_DATA.format(
                body="""event = ""
    for line in stream:
        name, _, value = line.decode().strip().partition(": ")
        if name == "event":
            event = value
        elif name == "data" and event == "complete":
            return json.loads(value)
        elif name == "data" and event == "error":
            told = json.loads(value) or {}
            raise RecognizerError(told.get("error") or "The app could not read the page.")
    raise RecognizerError("The stream broke off.")"""
            ),
            "breaks off.*JSONDecodeError",
        ),
        (
            FINAL_DATA.format(
                body="""event = ""
    for line in stream:
        name, _, value = line.decode().strip().partition(": ")
        if name == "event":
            event = value
        elif name == "data" and event == "complete":
            return json.loads(value)
        elif name == "data" and event == "error":
            told = json.loads(value) or {}
            raise RecognizerError(told.get("error") or "The app could not read the page.")
    return []"""
            ),
            r"the stream breaks off.*final_data returned \[\]",
        ),
    ],
    "is_blank": [
        (
            IS_BLANK.format(
                body="low, high = page.getextrema()\n    return high - low < 60",
            ),
            "faint pencil was called blank",
        ),
        (
            IS_BLANK.format(body="return bool(np.asarray(page).std() < 10)"),
            "faint .* was called blank",
        ),
        (
            IS_BLANK.format(body="return bool((np.asarray(page) < 128).mean() < 0.001)"),
            "faint pencil was called blank",
        ),
        (
            IS_BLANK.format(body="return bool(np.asarray(page).mean() > 215)"),
            "was called blank: somebody's page",
        ),
        (
            IS_BLANK.format(body="low, high = page.getextrema()\n    return low == high"),
            "gray paper was not called blank",
        ),
        (
            IS_BLANK.format(
                body="""levels = np.asarray(page, dtype=float)
    return bool((abs(levels - np.median(levels)) > 20).mean() < 0.0005)"""
            ),
            "much grain was not called blank.*near any pixel",
        ),
        (
            IS_BLANK.format(
                body="""around = np.asarray(page.filter(ImageFilter.BoxBlur(15)), dtype=float)
    strokes = abs(np.asarray(page) - around) > 12
    return bool(strokes.mean() < 0.0005)"""
            ),
            "much grain was not called blank",
        ),
        (
            IS_BLANK.format(
                body="""around = np.asarray(page.filter(ImageFilter.BoxBlur(15)), dtype=float)
    difference = abs(np.asarray(page) - around)
    return bool((difference > max(8 * np.median(difference), 6)).mean() < 0.02)"""
            ),
            "one word on it was called blank",
        ),
        (
            IS_BLANK.format(body="return np.asarray(page).std()"),
            "returned a float, not bool",
        ),
    ],
}

OFFICIAL_ASK = """
import json
import urllib.error
import urllib.request
from http.client import HTTPException

def ask(url, body, timeout=30.0):
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {{"Content-Type": "application/json"}}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            text = json.load(response)["data"][0]
    except urllib.error.HTTPError as error:
        try:
            sentence = json.load(error)["error"]
        except {inner}:
            sentence = None
        raise RecognizerError(sentence or f"status {{error.code}}") from None
    except {outer} as error:
        raise RecognizerError(f"failed: {{error!r}}") from None
    {none}
    return text
"""
UNFIT = "ValueError, LookupError, TypeError, OSError"
NONE = 'if text is None: raise RecognizerError("no text")'
WRONG_ANSWERS["ask"] += [
    (
        OFFICIAL_ASK.format(inner="Exception", outer=f"({UNFIT})", none=NONE),
        "SSH server.*BadStatusLine|BadStatusLine.*",
    ),
    (
        OFFICIAL_ASK.format(inner="Exception", outer=f"({UNFIT}, HTTPException)", none=""),
        r"data.*null.*returned None",
    ),
    (
        OFFICIAL_ASK.format(inner=f"({UNFIT})", outer=f"({UNFIT}, HTTPException)", none=NONE),
        "status 500 breaks off.*IncompleteRead",
    ),
]
