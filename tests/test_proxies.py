"""Behind a proxy, what runs on this machine is asked directly, and only what goes out is not."""

import contextlib
import os
import threading
from functools import partial

import httpx
import pytest
from app_serving import png, run, serving, uri

from lab_utils.lessons.public_url.loopback import FarEnd, LoopbackWay
from lab_utils.net import NetworkError, http_client, keep_local_direct, listening_socket
from lab_utils.predictors import LocalPredictor, PredictorError, RemotePredictor
from lab_utils.service.gateway import Gateway, InProcessFunction
from lab_utils.service.lambda_handler import LambdaHandler
from lab_utils.tunnel import Login, Tunnel
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

VARIABLES = [
    name
    for kind in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    for name in (kind, kind.lower())
]


@pytest.fixture(params=[("http", None), ("socks5", "intranet.example,10.0.0.0/8,::1")])
def proxy(request, monkeypatch):
    """A proxy that the environment names for everything: the connections that were made to it."""
    scheme, exceptions = request.param
    asked = []
    with listening_socket() as listening:

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    visitor, address = listening.accept()
                    asked.append(address)
                    visitor.close()

        threading.Thread(target=hang_up, daemon=True).start()
        url = f"{scheme}://127.0.0.1:{listening.getsockname()[1]}"
        for name in VARIABLES:
            value = exceptions if name.lower() == "no_proxy" else url
            monkeypatch.setenv(name, value or "")
            if value is None:
                monkeypatch.delenv(name)
        yield asked


def reads_with_a_service(stand_in_path, tmp_path) -> None:
    recognizer = ParagraphTextRecognizer(stand_in_path)
    handler = LambdaHandler(recognizer, stand_in_path, log=lambda line: None)
    with Gateway([InProcessFunction(handler)]) as service, RemotePredictor(service.url) as far:
        assert far.predict(png()).startswith("60x40")


def keeps_a_run(stand_in_path, tmp_path) -> None:
    import lab_tracker as tracking

    made = tracking.connect(tmp_path)
    try:
        assert httpx.get(made.url).status_code < 500
    finally:
        tracking.disconnect()


def shares_the_app(stand_in_path, tmp_path) -> None:
    login = Login("ada", "secret")
    with serving(LocalPredictor(stand_in_path), tmp_path) as (frontend, client):
        assert run(client, "predict", {"url": uri(png())}).status_code == 200
        far_end = FarEnd()
        with Tunnel(frontend.server_port, LoopbackWay(far_end), login) as tunnel:
            assert tunnel.answers()
            answer = httpx.get(tunnel.url, auth=(tunnel.user, tunnel.password), timeout=60)
        far_end.close()
    assert answer.status_code == 200


@pytest.mark.parametrize("part", [reads_with_a_service, keeps_a_run, shares_the_app])
def test_what_is_local_is_asked_directly(part, proxy, stand_in_path, tmp_path):
    part(stand_in_path, tmp_path)
    assert proxy == []


def test_what_goes_out_goes_through_the_proxy(proxy, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    keep_local_direct()
    assert os.environ["NO_PROXY"] == "intranet.example,127.0.0.1,localhost"
    with pytest.raises(PredictorError):
        RemotePredictor("http://reader.test:9000/", retries=0).predict(png())
    assert len(proxy) == 1


@pytest.mark.parametrize("url", ["gopher://127.0.0.1:9", "127.0.0.1:port", "socks4://127.0.0.1:9"])
def test_a_proxy_that_cannot_be_used_is_one_sentence(url, monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "" if name.lower() == "no_proxy" else url)
    for attempt in (partial(RemotePredictor, "http://reader.test:9000/"), partial(http_client, 1)):
        with pytest.raises(NetworkError, match="The proxy in the environment can't be used"):
            attempt()
