"""Signed requests: AWS's signature with botocore, and only for Function URLs."""

import re

import pytest
from PIL import Image

from lab_utils.predictors import RemotePredictor, remote
from lab_utils.predictors.signing import signer_for

HOST = "abc123.lambda-url.eu-central-1.on.aws"


@pytest.fixture(autouse=True)
def credentials(no_aws, monkeypatch):
    """Made-up ones, and none of your own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def test_the_signature_is_for_the_functions_region_and_this_body():
    sign = signer_for("https", HOST)
    headers = sign("/?a=1", b'{"image": "abc"}', {"Content-Type": "application/json"})
    authorization = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\d{8}/eu-central-1/lambda/aws4_request, "
        r"SignedHeaders=content-type;host;x-amz-date, Signature=(\w{64})",
        headers["Authorization"],
    )
    assert authorization and headers["X-Amz-Date"]
    assert headers["Content-Type"] == "application/json"
    other = sign("/?a=1", b"{}", {"Content-Type": "application/json"})
    assert authorization[1] not in other["Authorization"]


def test_other_addresses_and_nobody_get_no_signature(monkeypatch):
    for host in ("example.com", f"{HOST}.evil.example", "lambda-url.eu-central-1.on.aws"):
        assert signer_for("https", host) is None
    assert signer_for("http", HOST) is None
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert signer_for("https", HOST) is None


def test_each_request_is_sent_with_its_signature(monkeypatch, serve):
    def signer(scheme, host):
        return lambda target, body, headers: headers | {"Authorization": f"{target} {len(body)}"}

    monkeypatch.setattr(remote, "signer_for", signer)
    server = serve(b'{"pred": "text"}')
    predictor = RemotePredictor(f"{server.url}/path", retries=0)
    assert predictor.predict(Image.new("L", (40, 40), 255)) == "text"
    (request,) = server.requests
    assert re.search(rb"\r\nAuthorization: /path \d+\r\n", request)
