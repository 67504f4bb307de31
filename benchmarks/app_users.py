"""Locust's users of the web app: each sends the page again as soon as its text is there.
Read by `locust -f`, which `app_load.py` starts: gevent changes whatever process imports it."""

import json
import os
import time
from pathlib import Path

from locust import FastHttpUser, constant, events, task

BODY = Path(os.environ["APP_LOAD_BODY"]).read_bytes()
TEXT = os.environ["APP_LOAD_TEXT"]

# Locust's own statistics round to two digits and do not know the warm-up.
requests: list[tuple[float, float]] = []
errors: list[str] = []


class Reader(FastHttpUser):
    wait_time = constant(0)

    @task
    def read(self) -> None:
        with self.client.post(
            "/gradio_api/run/predict",
            data=BODY,
            headers={"Content-Type": "application/json"},
            catch_response=True,
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
            elif json.loads(answer.text)["data"] != [TEXT]:
                answer.failure("a wrong text")


@events.request.add_listener
def note(response_time: float, exception: Exception | None, **_rest) -> None:
    if exception is None:
        requests.append((time.time(), response_time / 1000))
    else:
        errors.append(str(exception)[:200])


@events.quitting.add_listener
def tell(**_rest) -> None:
    """One JSON line: (end in s since 1970, latency in s) of the requests, and the errors."""
    print(json.dumps({"requests": requests, "errors": errors}), flush=True)
