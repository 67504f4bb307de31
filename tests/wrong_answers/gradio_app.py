"""Typical mistakes in the exercises of notebook 05, and what the check must say about each."""

from answer_edits import edited

READ_PAGE = """
import gradio as gr
from text_recognizer.errors import RecognizerError

def read_page(path, predictor, doubtful=0.5):
    if path is None:
        raise gr.Error("Choose an image first.", print_exception=False)
    try:
        reading = predictor.read(path)
    except RecognizerError as error:
        raise gr.Error(str(error), print_exception=False) from None
    few = sum(line.confidence < doubtful for line in reading.lines)
    count = len(reading.lines)
    if not count:
        return "", "no writing found"
    return reading.text, f"{count} line{'s' * (count != 1)}, {few} doubtful"
"""
TOLD = "raise gr.Error(str(error), print_exception=False) from None"

BUILD_PAGE = """
import gradio as gr

def build_page(read):
    with gr.Blocks() as page:
        image, button = gr.Image(type="filepath"), gr.Button("Read")
        text, summary = gr.Textbox(), gr.Textbox()
        button.click(read, image, [text, summary], api_name="read_page")
    return page
"""

PREDICT_BODY = """
import base64

from text_recognizer.errors import RecognizerError

KINDS = {b"\\x89PNG": "png", b"\\xff\\xd8\\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}

def predict_body(image):
    kind = next((k for start, k in KINDS.items() if image.startswith(start)), None)
    if kind is None or (kind == "webp" and image[8:12] != b"WEBP"):
        raise RecognizerError("Give a PNG, JPEG, GIF or WebP image.")
    text = base64.b64encode(image).decode()
    return {"data": [{"url": f"data:image/{kind};base64,{text}"}]}
"""
URL = '[{"url": f"data:image/{kind};base64,{text}"}]'

ASK = """
import json
import urllib.error
import urllib.request
from http.client import HTTPException
from text_recognizer.errors import RecognizerError

UNFIT = (ValueError, LookupError, TypeError, OSError)

def ask(url, body, timeout=30.0):
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            text = json.load(response)["data"][0]
    except urllib.error.HTTPError as error:
        try:
            sentence = json.load(error)["error"]
        except Exception:
            sentence = None
        raise RecognizerError(sentence or f"status {error.code}") from None
    except (*UNFIT, HTTPException) as error:
        raise RecognizerError(f"failed: {error!r}") from None
    if text is None:
        raise RecognizerError("no text")
    return text
"""
BARE_ASK = """
import json
import urllib.request

def ask(url, body, timeout=10.0):
    header = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), header)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)["data"][0]
"""
SENTENCE = """        try:
            sentence = json.load(error)["error"]
        except Exception:
            sentence = None
"""

FINAL_DATA = """
import json

from text_recognizer.errors import RecognizerError

def final_data(stream):
    event = ""
    for line in stream:
        name, _, value = line.decode().strip().partition(": ")
        if name == "event":
            event = value
        elif name == "data" and event == "complete":
            return json.loads(value)
        elif name == "data" and event == "error":
            told = json.loads(value) or {}
            raise RecognizerError(told.get("error") or "The app could not read the page.")
    raise RecognizerError("The stream broke off.")
"""
FIRST_LINES = """
import json

def final_data(stream):
    last = None
    for line in stream:
        if line.startswith(b"data: "):
            last = json.loads(line[6:])
    return last
"""

IS_BLANK = """
import numpy as np
from PIL import ImageFilter

def is_blank(page):
    around = np.asarray(page.filter(ImageFilter.BoxBlur(15)), dtype=float)
    difference = abs(np.asarray(page) - around)
    return bool((difference > max(8 * np.median(difference), 6)).mean() < 0.0005)
"""
BLANK_BODY = IS_BLANK[IS_BLANK.index("    around") :]


def blank(body: str) -> str:
    return IS_BLANK.replace(BLANK_BODY, f"    {body}\n")


WRONG_ANSWERS: dict[str, list[tuple[str, str]]] = {
    "read_page": [
        (
            "def read_page(path, predictor, doubtful=0.5):\n    return predictor.read(path).text",
            "returned a str, not tuple",
        ),
        (
            edited(READ_PAGE, ("return reading.text,", "return predictor.predict(path),")),
            "not once for 'page.png'",
        ),
        (edited(READ_PAGE, ("< doubtful", "<= doubtful")), "'3 lines, 2 doubtful', not"),
        (edited(READ_PAGE, ("< doubtful", "< 0.5")), "compare with the argument"),
        (edited(READ_PAGE, ("{'s' * (count != 1)}", "s")), "One line is a line"),
        (
            edited(READ_PAGE, ("no writing found", "0 lines, 0 doubtful")),
            "A page without lines is said to be so",
        ),
        (
            edited(READ_PAGE, ("if path is None", "if False")),
            r"path is None\), read_page returned",
        ),
        (edited(READ_PAGE, (TOLD, "raise")), "stopped with ImageError.*the word Error"),
        (
            edited(READ_PAGE, (TOLD, "return str(error), 'error'")),
            "raises a RecognizerError, read_page returned",
        ),
        (
            edited(READ_PAGE, (TOLD, "raise gr.Error(f'Error: {error}')")),
            "hand over the sentence as it is",
        ),
        (edited(READ_PAGE, (TOLD, "raise gr.Error(str(error))")), "print_exception=False"),
        (
            edited(READ_PAGE, ("except RecognizerError", "except Exception")),
            "has a bug.*stopped with Error, not KeyError: catch only RecognizerError",
        ),
    ],
    "build_page": [
        (edited(BUILD_PAGE, ('type="filepath"', "")), "not with the path of a file"),
        (
            edited(BUILD_PAGE, (', api_name="read_page"', "")),
            "has no endpoint named read_page",
        ),
        (
            edited(BUILD_PAGE, ("[text, summary]", "text")),
            "outputs are .'textbox'., and should be",
        ),
        (
            edited(BUILD_PAGE, ("click(read,", "click(lambda path: read(path)[::-1],")),
            "name the text's box first",
        ),
        (edited(BUILD_PAGE, ("button.click", "image.change")), "use the click of a gr.Button"),
        (
            edited(
                BUILD_PAGE,
                ("click(read,", 'click(lambda path: read(path) if path else ("", ""),'),
            ),
            "without an image",
        ),
    ],
    "predict_body": [
        (edited(PREDICT_BODY, (".decode()", "")), "starts with b', as bytes are printed"),
        (edited(PREDICT_BODY, ("b64encode", "encodebytes")), "line breaks"),
        (
            edited(PREDICT_BODY, ("b64encode", "urlsafe_b64encode")),
            "the alphabet for addresses",
        ),
        (
            edited(PREDICT_BODY, (".decode()", ".decode().rstrip('=')")),
            "is not the image.*multiple of 4",
        ),
        (
            edited(PREDICT_BODY, ("image/{kind}", "image/png")),
            "was called image/png, not image/jpeg",
        ),
        (
            edited(
                PREDICT_BODY,
                ('raise RecognizerError("Give a PNG, JPEG, GIF or WebP image.")', 'kind = "png"'),
            ),
            "predict_body returned .*raise RecognizerError",
        ),
        (edited(PREDICT_BODY, ("image[8:12]", "b'WEBP'")), "WAVE.*raise RecognizerError"),
        (
            edited(PREDICT_BODY, (URL, '[f"data:image/{kind};base64,{text}"]')),
            "refuses a bare string",
        ),
        (edited(PREDICT_BODY, (URL, URL[1:-1])), "a list with one value"),
        (edited(PREDICT_BODY, (URL, '[{"url": text}]')), "the url starts with"),
    ],
    "ask": [
        (edited(BARE_ASK, ("urlopen(request", "urlopen(url")), "sent with the method POST"),
        (
            edited(BARE_ASK, (".encode(), header", ".encode()")),
            "Content-Type was application/x-www-form-urlencoded",
        ),
        (edited(BARE_ASK, ("json.dumps(body)", "str(body)")), "body is not JSON"),
        (edited(BARE_ASK, ('["data"][0]', '["data"]')), "returned a list, not str"),
        (BARE_ASK, "stopped with HTTPError"),
        (
            edited(ASK, (SENTENCE, "        sentence = None\n")),
            "hand over the sentence as it is",
        ),
        (
            edited(ASK, ("sentence or f", "str(sentence) or f")),
            "answer {\"error\": null}, ask says 'None'",
        ),
        (
            edited(ASK, (SENTENCE, '        sentence = json.load(error).get("error")\n')),
            "502 Bad Gateway.*stopped with JSONDecodeError",
        ),
        (
            edited(ASK, (", timeout=timeout", "")),
            "no answer comes within timeout=0.1 s, ask returned 'late'",
        ),
        (
            edited(
                ASK, ("LookupError, TypeError, OSError", "LookupError, TypeError, TimeoutError")
            ),
            "no server is there any more, ask stopped with URLError",
        ),
        (edited(ASK, ("(*UNFIT, HTTPException)", "UNFIT")), "BadStatusLine"),
        (
            edited(ASK, ('raise RecognizerError("no text")', "pass")),
            r"data.*null.*returned None",
        ),
        (
            edited(ASK, ("except Exception", "except UNFIT")),
            "status 500 breaks off.*IncompleteRead",
        ),
    ],
    "final_data": [
        (FIRST_LINES, "went on reading"),
        (
            edited(FIRST_LINES, ("last = json", "return json")),
            "two heartbeats come before complete|returned None",
        ),
        (
            edited(FINAL_DATA, ('event == "complete"', 'event in ("complete", "generating")')),
            r"a generating event .* comes first, final_data returned \['Dear'\]",
        ),
        (
            edited(
                FINAL_DATA,
                (".strip()", "[:-1]"),
                ('raise RecognizerError("The stream broke off.")', "return None"),
            ),
            "final_data returned None",
        ),
        (
            """
import json

from text_recognizer.errors import RecognizerError

def final_data(stream):
    for event in b"".join(stream).decode().split("\\n\\n"):
        if "error" in event:
            raise RecognizerError(json.loads(event.split("data: ")[1])["error"])
        if "complete" in event:
            return json.loads(event.split("data: ")[1])
    raise RecognizerError("The stream broke off.")
""",
            "text looks like events|stopped with JSONDecodeError",
        ),
        (
            edited(FINAL_DATA, ("in stream", "in list(stream)")),
            "don't make a list of the stream",
        ),
        (
            edited(
                FINAL_DATA, ('told.get("error") or "The app', 'str(told.get("error")) or "The app')
            ),
            "the data {\"error\": null}, final_data says 'None'",
        ),
        (FINAL_DATA, "breaks off.*JSONDecodeError"),
        (
            edited(FINAL_DATA, ('raise RecognizerError("The stream broke off.")', "return []")),
            r"the stream breaks off.*final_data returned \[\]",
        ),
    ],
    "is_blank": [
        (
            blank("return page.getextrema()[1] - page.getextrema()[0] < 60"),
            "faint pencil was called blank",
        ),
        (blank("return bool(np.asarray(page).std() < 10)"), "faint .* was called blank"),
        (
            blank("return bool((np.asarray(page) < 128).mean() < 0.001)"),
            "faint pencil was called blank",
        ),
        (
            blank("return bool(np.asarray(page).mean() > 215)"),
            "was called blank: a real page",
        ),
        (
            blank("return page.getextrema()[0] == page.getextrema()[1]"),
            "gray paper was not called blank",
        ),
        (
            edited(
                IS_BLANK,
                (
                    "np.asarray(page.filter(ImageFilter.BoxBlur(15)), dtype=float)",
                    "np.median(page)",
                ),
                ("max(8 * np.median(difference), 6)", "20"),
            ),
            "much grain was not called blank.*near any pixel",
        ),
        (
            edited(IS_BLANK, ("max(8 * np.median(difference), 6)", "12")),
            "much grain was not called blank",
        ),
        (edited(IS_BLANK, ("< 0.0005", "< 0.02")), "one word on it was called blank"),
        (blank("return np.asarray(page).std()"), "returned a float, not bool"),
    ],
}
