"""The tunnel of notebook 07, which ends on this machine: it relays, breaks off and comes back."""

import urllib.error
import urllib.request

import pytest

from lab_utils.lessons.public_url.loopback import NO_AGENT, FarEnd, LoopbackWay
from lab_utils.tunnel import Tunnel
from lab_utils.tunnel.auth_proxy import MARK


@pytest.fixture
def far_end():
    one = FarEnd()
    yield one
    one.close()


def ask(url, data=None):
    """Status, headers and body."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def test_requests_pass_the_gate_and_come_back(serve, far_end):
    server = serve(b"app" * 100_000)
    with Tunnel(server.port, LoopbackWay(far_end), None) as tunnel:
        assert tunnel.url == far_end.url
        for data in (None, b"x" * 300, None):
            status, headers, body = ask(tunnel.url, data)
            assert (status, body) == (200, b"app" * 100_000) and headers[MARK]
        assert tunnel.answers()


def test_without_an_agent_the_far_end_speaks_itself(serve, far_end):
    server = serve(b"app")
    Tunnel(server.port, LoopbackWay(far_end), None).close()
    status, headers, body = ask(far_end.url)
    assert status == 404 and NO_AGENT in body.decode() and MARK not in headers
    with Tunnel(server.port, LoopbackWay(far_end), None):
        assert ask(far_end.url)[0] == 200


def test_a_closed_far_end_is_no_server(far_end):
    far_end.close()
    with pytest.raises(urllib.error.URLError):
        ask(far_end.url)
