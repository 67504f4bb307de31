"""Wrong answers that are the official solution with one or two changes, by the exercise's name.

Each is of a kind that a check once missed: a part of the solution, what takes its place, and
what the check's message must match.
"""

CHANGED = "changed what it was given"
WRONG_EDITS: dict[str, list[tuple[list[tuple[str, str]], str]]] = {
    "stored_bytes": [
        (
            [("waiting = [value]", "waiting = value if isinstance(value, list) else [value]")],
            CHANGED,
        ),
        ([("isinstance(part, torch.Tensor)", "type(part) is torch.Tensor")], "Parameter"),
    ],
    "parity": [([(".argmax(2), other.argmax(2)", ".argmax(1), other.argmax(1)")], "16 higher")],
    "compile_and_load": [([(', map_location="cpu"', "")], "map_location")],
    "page_text": [([("script.ignored)", "script.ignored).strip()")], "ids .* say")],
    "training_run": [
        ([(' if one.type != "dataset"', ""), ("parents[0]", "parents[-1]")], "after the model"),
        ([('run.job_type != "train"', '"train" not in run.job_type')], "small:v0"),
    ],
    "staged_from": [
        (
            [("waiting.append(made)", 'made.type == "dataset" or waiting.append(made)')],
            "another data set was made from it",
        ),
    ],
    "deletable": [
        (
            [("run.used_artifacts() if run else ()", "(run.used_artifacts() if run else [])[:1]")],
            "averaged from two",
        ),
    ],
    "lines_in_column": [
        (
            [("values = [", "column[column < least] = 0\n    values = [")],
            CHANGED,
        ),
    ],
    "strip_grid": [
        (
            [
                (
                    "y = path[None, :, 1] + offset[:, None]",
                    "y = (path[None, :, 1] + offset[:, None]).clamp(0, page_size[0])",
                )
            ],
            "upper edge",
        )
    ],
    "greedy_decode": [([("[], blank", "[], 0")], r"\[0, 0, 5\] became \[5\]")],
    "gpu_utilization": [
        (
            [
                (
                    "stop = max(begin, latest), min(stop, end)",
                    "stop = max(int(begin), latest), min(int(stop), end)",
                )
            ],
            "not whole",
        ),
        ([("in sorted(kernels)", "in kernels.sort() or kernels")], CHANGED),
    ],
    "waiting_operator": [
        ([("max(begin, gap_start))", "begin) * (begin >= gap_start)")], "wherever the call begins"),
        (
            [
                (
                    "max(0.0, min(stop, gap_end) - max(begin, gap_start))",
                    "min(stop, gap_end) - max(begin, gap_start)",
                )
            ],
            "has no part in the gap counts 0",
        ),
    ],
    "read_page": [
        (
            [('"Choose an image first.", print_exception=False', '"Choose an image."')],
            "print_exception=False",
        )
    ],
    "predict_body": [([(r'\xff\xd8\xff"', r'\xff\xd8\xff\xe0"')], "jpeg|stopped with")],
    "final_data": [([("decode()", 'decode("ascii", "ignore")')], "UTF-8")],
    "is_blank": [([("abs(levels - around)", "around - levels")], "twelve dots|chalk")],
    "handle": [([("application/json", "application/jsonx")], "must be told that JSON comes")],
    "safe_address": [
        (
            [('parts.scheme not in ("http", "https")', 'not parts.scheme.startswith("http")')],
            "httpx",
        )
    ],
    "ask_service": [
        ([("httpx.TransportError", "httpx.ConnectError")], "ends without an answer"),
        ([(", timeout=60", "")], "gives up after 5 s"),
    ],
    "ask_patiently": [
        (
            [('"retry-after", "")', '"retry-after", "") if status == 429 else ""')],
            "503 with retry-after 2",
        ),
        (
            [
                (
                    'except ConnectionError:\n            answer = (503, {}, "")',
                    "except ConnectionError as error:\n            answer = (503, {}, str(error))",
                )
            ],
            "nobody ever answered",
        ),
    ],
    "percentile_latency": [
        ([("if answered is None", "if not answered")], "0 is a time"),
        (
            [("    latencies =", "    requests.sort()\n    latencies =")],
            CHANGED,
        ),
    ],
    "open_way_in": [
        (
            [("secrets.token_urlsafe(16)", 'str(__import__("time").time_ns())')],
            "same password",
        ),
    ],
    "check_basic_auth": [
        ([("validate=True)", "validate=True).strip()")], "space behind the password"),
        (
            [
                (
                    'compare_digest(given, f"{user}:{password}".encode())',
                    'compare_digest(given, given) and given == f"{user}:{password}".encode()',
                )
            ],
            "stops at the first byte",
        ),
        (
            [
                (
                    'compare_digest(given, f"{user}:{password}".encode())',
                    'compare_digest(given.split(b":")[0], user.encode())'
                    ' and given == f"{user}:{password}".encode()',
                )
            ],
            "stops at the first byte",
        ),
    ],
    "host_allowed": [
        ([('name == "localhost"', 'name.endswith("localhost")')], "only ends like localhost"),
        (
            [("name in allowed", "any(f'.{name}'.endswith(f'.{one}') for one in allowed)")],
            "below an allowed one",
        ),
        ([('rstrip(".")', 'strip(".")')], "none comes before it"),
        ([("    try:", '    allowed.add("localhost")\n    try:')], CHANGED),
    ],
    "diagnose": [
        (
            [
                (
                    '"X-Lab-Tunnel" in answer.headers\n    except HTTPError',
                    'answer.headers.get("X-Lab-Tunnel") == "5f2c"\n    except HTTPError',
                ),
                (
                    '"X-Lab-Tunnel" in answer.headers\n    except (OSError',
                    'answer.headers.get("X-Lab-Tunnel") == "5f2c"\n    except (OSError',
                ),
            ],
            "answers 502 with its mark",
        )
    ],
}
