"""Typical mistakes in the exercises of notebook 05, and what the check must say about each.

Most are parts of the official solution, and what takes the place of each; the others are code.
"""

TOLD = "raise gr.Error(str(error), print_exception=False) from None"
URL = '[{"url": f"data:image/{kind};base64,{text}"}]'
SENTENCE = 'json.load(error)["error"]'
BARE_ASK = """
def ask(url, body, timeout=10.0):
    header = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), header)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)["data"][0]
"""
BROKE_OFF = 'raise RecognizerError("The stream ended before the text came; ask once more.")'
AROUND = "np.asarray(page.filter(ImageFilter.BoxBlur(15)), dtype=float)"


def blank(condition: str) -> str:
    """A page is blank if a condition holds for it."""
    return f"import numpy as np\n\ndef is_blank(page):\n    return {condition}\n"


WRONG_ANSWERS: dict[str, list[tuple[str, ...]]] = {
    "read_page": [
        ("return reading.text,", "return predictor.predict(path),", "not once for 'page.png'"),
        ("< doubtful", "< 0.5", "compare with the argument"),
        ("{'s' if count > 1 else ''}", "s", "one is a line, not lines"),
        ("no writing found", "0 lines, 0 doubtful", "say so if a page has no lines"),
        ("if path is None", "if False", r"path is None\), read_page returned"),
        ('"Choose an image first.", ', "", "say what the user can do"),
        (TOLD, "raise", "stopped with ImageError, not Error.*the word Error"),
        (TOLD, "raise gr.Error(f'Error: {error}')", "pass the sentence on unchanged"),
        (TOLD, "raise gr.Error(str(error))", "print_exception=False"),
        ("except RecognizerError", "except Exception", "not KeyError: catch only RecognizerError"),
    ],
    "build_page": [
        ('type="filepath", ', "", "not with the path of a file"),
        (', api_name="read_page"', "", "has no endpoint named read_page"),
        ("click(read,", "click(lambda path: read(path)[::-1],", "name the text's box first"),
        ("[text, summary]", "[text, text]", "one component each"),
        (
            "    with gr.Blocks",
            "    lost = gr.Textbox()\n    with gr.Blocks",
            "[text, summary]",
            "[lost, summary]",
            "none of the page's.*made inside",
        ),
        ("button.click", "image.change", "use the click of a gr.Button"),
        ("click(read,", 'click(lambda path: read(path) if path else ("", ""),', "without an image"),
    ],
    "predict_body": [
        ("(image).decode()", "(image)", "no b''"),
        ("b64encode", "encodebytes", "no line breaks"),
        ("b64encode", "urlsafe_b64encode", "instead of - and _"),
        ("data:image/{kind}", "data:image/png", "for image/jpeg .*'data:image/png"),
        (
            "    if kind is None:\n",
            '    kind = kind or "png"\n    if kind is None:\n',
            "predict_body returned .*raise RecognizerError",
        ),
        ('image[8:12] == b"WEBP"', "True", "WAVE.*raise RecognizerError"),
        (URL, '[f"data:image/{kind};base64,{text}"]', "refuses a bare string"),
        (r'\xff\xd8\xff"', r'\xff\xd8\xff\xe0"', "jpeg|stopped with"),
    ],
    "ask": [
        (BARE_ASK.replace("urlopen(request", "urlopen(url"), "with the method POST"),
        (BARE_ASK.replace(".encode(), header", ".encode()"), "x-www-form-urlencoded"),
        (BARE_ASK, "stopped with HTTPError"),
        (SENTENCE, "None", "pass the sentence on unchanged"),
        (f"sentence = {SENTENCE}", f"sentence = str({SENTENCE})", "ask says 'None'"),
        (
            "except (*unfit, OSError, HTTPException):",
            "except KeyError:",
            "stopped with JSONDecodeError",
        ),
        (", timeout=timeout", "", "no answer comes within timeout=0.1 s, ask returned 'late'"),
        (
            "except (OSError, HTTPException):",
            "except (TimeoutError, HTTPException):",
            "stopped with URLError|stopped with RemoteDisconnected",
        ),
        ("except (OSError, HTTPException):", "except OSError:", "BadStatusLine"),
        ("if not isinstance(text, str):", "if False:", "Please log in.*returned None"),
        ("if not isinstance(text, str):", "if text is None:", "'data': .7.*returned 7"),
        ("json.load(response)", 'json.loads(response.read().decode("latin-1"))', "ZÃ¼rich"),
        ("(*unfit, OSError, HTTPException)", "unfit", "status 500 breaks off.*IncompleteRead"),
    ],
    "final_data": [
        ("for line in stream", "for line in list(stream)", "don't make a list of the stream"),
        (
            'event == "complete"',
            'event in ("complete", "generating")',
            r"a generating event comes first, final_data returned \['Dear'\]",
        ),
        (r'rstrip("\r\n")', r'rstrip("\n")', r"stopped with RecognizerError|lines end with \\r"),
        ('document.get("error") if', 'str(document.get("error")) if', "final_data says 'None'"),
        (
            "            data = value\n",
            '            data = value\n            if event == "complete":\n'
            "                return json.loads(data)\n",
            "breaks off.*JSONDecodeError|final_data returned",
        ),
        (BROKE_OFF, "return []", r"the stream breaks off.*final_data returned \[\]"),
        ("decode()", 'decode("ascii", "ignore")', "UTF-8"),
    ],
    "is_blank": [
        (blank("page.getextrema()[1] - page.getextrema()[0] < 60"), "pencil, .* returned True"),
        (blank("page.getextrema()[0] == page.getextrema()[1]"), "gray paper, .* returned False"),
        (AROUND, "np.median(page)", "max(8 * grain, 6)", "20", "much grain, .* returned False"),
        ("max(8 * grain, 6)", "8 * grain", "without grain, .* returned False"),
        ("max(8 * grain, 6)", "22", "< 0.0005", "< 0.0015", "very much grain|pencil"),
        ("max(8 * grain, 6)", "12", "much grain, .* returned False.*by more than the grain"),
        ("< 0.0005", "< 0.02", "one word on it, .* returned True"),
        ("abs(levels - around)", "around - levels", "twelve dots|chalk"),
    ],
}
