"""Typical mistakes in the exercises of notebook 06, and what the check must say about each.

Most are parts of the official solution, and what takes the place of each; the others are code.
"""

READ = 'return answer(200, {"pred": read(image)})'
BROKEN = 'return answer(500, {"error": "The service failed; the reason is in its log."})'
FORM = """return answer(400, {"error": 'Send JSON of the form {"image": "<base64>"}.'})"""
LIMIT = "    if len(image) > max_bytes:\n"
JUDGED = "if not ip.is_global or ip.is_multicast:"
POSTED = "httpx.post(address, json=document, timeout=60)"
REPLY = "return reply.status_code, dict(reply.headers), reply.text"
ENCODED = "base64.b64encode(image).decode()"
WAIT = "(float(asked_for) if asked_for.isdecimal() else 0.0) + draw() * longest"
END = "if status not in (429, 502, 503) or waited + wait > patience"
LATENCY = "math.inf if answered is None else answered - scheduled"
SORTED = """sorted(
        math.inf if answered is None else answered - scheduled
        for scheduled, _, answered in requests
    )"""
RANK = "math.ceil(percent * len(latencies) / 100) - 1"

WRONG_ANSWERS: dict[str, list[tuple[str, ...]]] = {
    "handle": [
        (
            "    try:\n        body",
            '    image = base64.b64decode(json.loads(event["body"])["image"])\n'
            '    return answer(200, {"pred": str(read(image))})\n    try:\n        body',
            r"with a body in base64 \(isBase64Encoded is true\), handle stopped with JSONDecodeErr",
        ),
        ('["image"], validate=True)', '["image"])', "b64decode skips what isn't base64"),
        (FORM, BROKEN, "no body got the status 500, not 400"),
        (", RecursionError", "", "with 100,000 opening brackets.*RecursionError"),
        ('{"error": f"Send an image', '{"error": max_bytes or f"Send an image', "give a sentence"),
        (LIMIT, "    if False:\n", "with max_bytes=511, got the status 200, not 413"),
        (LIMIT, "    if len(event['body']) > max_bytes * 2:\n", "count the decoded bytes"),
        (
            "    except (ValueError, TypeError, KeyError, RecursionError):",
            f"        if len(image) <= max_bytes:\n            {READ}\n"
            "    except (ValueError, TypeError, KeyError, RecursionError):",
            "RecognizerError is a ValueError, too",
        ),
        (
            f"except Exception:\n        {BROKEN}",
            'except Exception as error:\n        return answer(500, {"error": str(error)})',
            "was shown to the sender",
        ),
        (
            "except RecognizerError as",
            "except ValueError as",
            "a ValueError from within the reader got the status 422, not 500",
        ),
        ("json.dumps(document)", "document", "body is {.*what goes over HTTP is text"),
        ('{"content-type": "application/json"}', "{}", "tell the client that the body is JSON"),
        (READ, READ.replace("read(image)", "read(image) or None"), "A blank page has the text ''"),
    ],
    "safe_address": [
        (
            JUDGED,
            'if address.startswith(("127.", "10.", "192.168.", "169.254.")):',
            "172.16.5.4 is in a private network|one of its two",
        ),
        (JUDGED, "if ip.is_private or ip.is_multicast:", r"100\.64\.0\.9 is shared by a provider"),
        (JUDGED, "if not ip.is_global:", r"224\.0\.0\.251 is a group of machines"),
        ("for address in addresses:", "for address in addresses[:1]:", "one of its two addresses"),
        ("return addresses[0]", "return resolve(parts.hostname)[0]", "returned '127.0.0.1'"),
        ("return addresses[0]", "return parts.hostname", "return the first address"),
        (
            'raise AddressError(f"There is no host {parts.hostname}.")',
            "return None",
            "the name has no address at all",
        ),
        ("except ValueError:", "except KeyError:", "urlsplit says so with a ValueError"),
        ('parts.scheme not in ("http", "https")', 'not parts.scheme.startswith("http")', "httpx"),
    ],
    "ask_patiently": [
        (END, "if status == 200 or waited + wait > patience", "after the status 400, it asked"),
        (
            "asked_for.isdecimal()",
            'asked_for not in ("", "soon") and ":" not in asked_for',
            "'2.5'",
        ),
        (WAIT, "draw() * longest", "what the service asks for comes first"),
        (WAIT, f"max({WAIT.replace(' + ', ', ')})", "do not come back together"),
        (WAIT, WAIT.replace("draw() * ", ""), r"with draw\(\) = 0.5"),
        ("longest * 2", "wait * 2", "doubles each time, not the drawn one"),
        (END, "if status not in (429, 502, 503) or wait > patience", "the sum of all waits"),
        (END, "if status not in (429, 502, 503)", "asked 200 times"),
        ("except ConnectionError:", "except Exception:", "ask stops with KeyError.*returned"),
        (
            "status not in (429, 502, 503)",
            "status not in (408, 429) and status <= 500",
            "after the status 408, it asked",
        ),
        ('("retry-after", "")', '("retry-after", "") if status == 429 else ""', "retry-after 2"),
    ],
    "percentile_latency": [
        ("for scheduled, _,", "for _, scheduled,", "should have been sent"),
        (
            LATENCY,
            "answered - scheduled",
            "_, answered in requests",
            "_, answered in requests if answered is not None",
            "a missing answer is infinitely late",
        ),
        (RANK, "percent * len(latencies) // 100", "the share of the count, rounded up"),
        (RANK, "math.ceil(percent / 100 * len(latencies)) - 1", "multiply before you divide"),
        (SORTED, SORTED.replace("sorted", "list"), "sort"),
        ("if answered is None", "if not answered", "0 is a time"),
        ("    latencies =", "    requests.sort()\n    latencies =", "changed what it was given"),
    ],
    "ask_service": [
        (POSTED, "httpx.get(address)", "the event's method is GET .*not POST"),
        (POSTED, "httpx.post(address, data=document)", "send JSON, and say so"),
        (POSTED, 'httpx.post(address, json=document["image"])', "the event's body is"),
        (ENCODED, "str(base64.b64encode(image))", r"decode\(\) makes text of them"),
        (
            POSTED,
            f"{POSTED}.raise_for_status()",
            "if the service answers with status 422, ask_service stopped with HTTPStatusError",
        ),
        ("httpx.TransportError", "TimeoutError", "ConnectError, not ConnectionError: your library"),
        ("httpx.TransportError", "httpx.ConnectError", "ends without an answer"),
        (REPLY, REPLY.replace("reply.text", "reply.json()"), "return all three unchanged"),
        (POSTED, f"[{POSTED} for _ in range(2)][-1]", "the function was called 2 times, not once"),
        (", timeout=60", "", "gives up after 5 s"),
        (", timeout=60", ", timeout=None", "for an answer for ever"),
        (
            "httpx.TransportError",
            "(httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError)",
            "no answer comes in time.*stopped with ReadTimeout",
        ),
        (
            REPLY,
            REPLY.replace(
                "dict(reply.headers)", "{name.title(): one for name, one in reply.headers.items()}"
            ),
            "in small letters",
        ),
        (
            """
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

def ask_service(address, image):
    body = json.dumps({"image": base64.b64encode(image).decode()}).encode()
    request = Request(address, body, {"Content-Type": "application/json"})
    try:
        reply = urlopen(request, timeout=60)
    except HTTPError as error:
        reply = error
    except (URLError, ConnectionError) as error:
        raise ConnectionError(str(error))
    headers = {name.lower(): value for name, value in reply.headers.items()}
    return reply.status, headers, reply.read().decode()
""",
            "ends within an answer.*stopped with IncompleteRead",
        ),
    ],
}
