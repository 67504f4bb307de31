"""Right answers to the exercises of notebook 05 in other styles than the official one."""

PILLOW = """
import base64
import io

def predict_body(image):
    try:
        kind = Image.open(io.BytesIO(image)).format
    except OSError:
        kind = None
    if kind not in ("PNG", "JPEG", "GIF", "WEBP"):
        raise RecognizerError("Send a PNG, JPEG, GIF or WebP image.")
    text = base64.standard_b64encode(image).decode("ascii")
    return dict(data=[dict(url=f"data:{Image.MIME[kind]};base64,{text}")])
"""

RIGHT_ANSWERS: dict[str, list[str]] = {
    "read_page": [
        """
def read_page(path, predictor, doubtful=0.5):
    if not path:
        raise gr.Error("Choose a picture.", print_exception=False)
    try:
        reading = predictor.read(path)
    except RecognizerError as error:
        raise gr.Error(str(error), print_exception=False) from error
    if not reading.lines:
        return reading.text, "no writing found"
    few = len([line for line in reading.lines if line.confidence < doubtful])
    lines = "1 line" if len(reading.lines) == 1 else f"{len(reading.lines)} lines"
    return reading.text, f"{lines}, {few} doubtful"
""",
        """
import numpy as np

def read_page(path, predictor, doubtful=0.5):
    if path is None:
        raise gr.Error("There is no image.", print_exception=False)
    try:
        reading = predictor.read(path)
    except Exception as error:
        if isinstance(error, RecognizerError):
            raise gr.Error(f"{error}", print_exception=False)
        raise
    sure = np.array([line.confidence for line in reading.lines])
    lines = "line" if sure.size == 1 else "lines"
    told = f"{sure.size} {lines}, {(sure < doubtful).sum()} doubtful"
    return [reading.text, told if sure.size else "no writing found"]
""",
        """
def read_page(path, predictor, doubtful=0.5):
    try:
        lines = predictor.read(path).lines if path is not None else None
    except RecognizerError as error:
        raise gr.Error(error.args[0], print_exception=False)
    if lines is None:
        raise gr.Error("Choose an image first.", print_exception=False)
    text = "\\n".join(line.text for line in lines)
    count = sum(1 for line in lines if not line.confidence >= doubtful)
    told = "%d line%s, %d doubtful" % (len(lines), "s" * (len(lines) != 1), count)
    return text, told if lines else "no writing found"
""",
    ],
    "build_page": [
        """
def build_page(read):
    page = gr.Blocks(title="Reads a page")
    with page:
        gr.Markdown("# Your page")
        with gr.Row():
            image = gr.Image(type="filepath")
            with gr.Column():
                outputs = [gr.TextArea(), gr.Text()]
        gr.Button("Go").click(fn=read, inputs=[image], outputs=outputs, api_name="read_page")
    return page
""",
        """
import gradio

def build_page(read):
    with gradio.Blocks() as page:
        image = gradio.Image(label="Page", type="filepath", sources=["upload", "clipboard"])
        button = gradio.Button("Read", variant="primary")
        out = [gradio.Textbox(label=name) for name in ("Text", "Summary")]
        gradio.on([button.click, image.change], read, image, out, api_name="read_page")
    return page
""",
        """
def build_page(read):
    outputs = [gr.Textbox(), gr.Textbox()]
    return gr.Interface(read, gr.Image(type="filepath"), outputs, api_name="read_page")
""",
    ],
    "predict_body": [
        PILLOW,
        """
import base64
import re

KINDS = [
    (rb"\\x89PNG\\r\\n\\x1a\\n", "png"), (rb"\\xff\\xd8", "jpeg"),
    (rb"GIF8[79]a", "gif"), (rb"RIFF....WEBP", "webp"),
]

def predict_body(image):
    for pattern, kind in KINDS:
        if re.match(pattern, image, re.DOTALL):
            url = "data:image/" + kind + ";base64," + str(base64.b64encode(image), "ascii")
            return {"data": [{"url": url}]}
    raise RecognizerError("This is not an image of a known type.")
""",
        """
import binascii

STARTS = {b"\\x89PNG": "png", b"\\xff\\xd8\\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}

def predict_body(image):
    kind = next((kind for start, kind in STARTS.items() if image.startswith(start)), None)
    if not kind or (kind == "webp" and image[8:12] != b"WEBP"):
        raise RecognizerError("Send an image.")
    text = binascii.b2a_base64(image, newline=False).decode()
    return {"data": [{"url": f"data:image/{kind};base64,{text}", "path": None}]}
""",
    ],
    "ask": [
        """
import httpx

def ask(url, body, timeout=30.0):
    try:
        response = httpx.post(url, json=body, timeout=timeout)
    except httpx.HTTPError as error:
        raise RecognizerError(f"No answer: {error!r}") from error
    try:
        document = response.json()
    except ValueError:
        document = None
    match document:
        case {"data": [str(text), *_]} if response.is_success:
            return text
        case {"error": str(sentence)} if sentence:
            raise RecognizerError(sentence)
    raise RecognizerError(f"The status is {response.status_code}, and there is no text.")
""",
        """
import http.client
from urllib.parse import urlsplit

def ask(url, body, timeout=30.0):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    header = {"content-type": "application/json; charset=utf-8"}
    text = status = None
    try:
        connection.request("POST", parts.path, json.dumps(body).encode(), header)
        answer = connection.getresponse()
        status = answer.status
        document = json.loads(answer.read())
        text = document["error"] if status >= 400 else document["data"][0]
    except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError):
        pass
    if not isinstance(text, str) or status >= 400:
        raise RecognizerError(text or f"There is no text (status {status}).")
    return text
""",
        """
import json
import urllib.error
import urllib.request

def ask(url, body, timeout=30.0):
    data = json.dumps(body).encode("utf-8")
    request = urllib.request.Request(url, data=data)
    request.add_header("Content-Type", "application/json")
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
        text = json.loads(answer.read())["data"][0]
        if not isinstance(text, str):
            raise TypeError
        return text
    except urllib.error.HTTPError as error:
        sentence = f"The server said {error.code}."
        try:
            sentence = json.loads(error.read()).get("error") or sentence
        except Exception:
            pass
        raise RecognizerError(sentence)
    except Exception as error:
        raise RecognizerError(f"That did not work: {error}")
""",
    ],
    "final_data": [
        """
import json

def events(stream):
    fields = {}
    for line in stream:
        name, _, value = line.decode("utf-8").rstrip().partition(":")
        if name:
            fields[name] = value.strip()
        else:
            yield fields
            fields = {}

def final_data(stream):
    for event in events(stream):
        if event.get("event") in ("complete", "error"):
            data = json.loads(event.get("data", "null"))
            if event["event"] == "complete":
                return tuple(data)
            raise RecognizerError(data and data.get("error") or "It failed.")
    raise RecognizerError("The stream broke off.")
""",
        """
import json
import re

def final_data(stream):
    block = ""
    for line in stream:
        block += line.decode()
        if line.strip():
            continue
        found = re.search(r"event: (\\w+)\\r?\\n(?:.*\\n)*?data: (.*?)\\r?\\n", block)
        block = ""
        if found and found[1] == "complete":
            return json.loads(found[2])
        if found and found[1] == "error":
            said = json.loads(found[2])
            raise RecognizerError((said and said.get("error")) or "The call failed.")
    raise RecognizerError("The end came too early.")
""",
        """
import json

def final_data(stream):
    name = data = None
    for raw in iter(stream):
        match raw.strip():
            case b"" if name == b"complete":
                return json.loads(data)
            case b"" if name == b"error":
                told = json.loads(data or "null") or {}
                raise RecognizerError(dict(told).get("error") or "no luck")
            case line if line.startswith(b"event:"):
                name = line[6:].strip()
            case line if line.startswith(b"data:"):
                data = line[5:].strip()
    raise RecognizerError("cut off")
""",
    ],
    "is_blank": [
        """
import numpy as np
from PIL import ImageFilter

def is_blank(page):
    levels = np.asarray(page, float)
    away = np.abs(levels - np.asarray(page.filter(ImageFilter.BoxBlur(15)), float))
    return (away > np.maximum(8 * np.median(away), 6)).mean() < 0.0005
""",
        """
import numpy as np
from PIL import ImageFilter

def is_blank(page):
    around = page.filter(ImageFilter.GaussianBlur(12))
    away = np.abs(np.asarray(page, int) - np.asarray(around, int))
    grain = max(np.percentile(away, 50), 0.5)
    return bool(np.count_nonzero(away > max(9 * grain, 8)) < away.size / 2000)
""",
        """
import torch
import torch.nn.functional as F
import numpy as np

def is_blank(page):
    levels = torch.from_numpy(np.array(page)).float()[None, None]
    around = F.avg_pool2d(levels, 31, 1, 15, count_include_pad=False)
    away = (levels - around).abs()
    return (away > max(8 * away.median(), 6)).float().mean() < 0.0005
""",
    ],
}
