"""The plan and the costs: what they say, that they need nothing, and what settings are refused."""

import math
import os
import subprocess

import pytest
from conftest import python

from lab_utils.deploy import costs

WITHOUT_ANYTHING = """
import socket, sys

def refuse(*_, **__):
    raise AssertionError("a plan asks nobody")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
sys.modules["boto3"] = sys.modules["botocore"] = sys.modules["torch"] = None
sys.argv = ["lab", *sys.argv[1:]]
from lab_utils.cli import main
main()
"""


def without_anything(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs `lab` with neither boto3, nor a network, nor credentials, nor a region."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PIP_"))}
    return python(WITHOUT_ANYTHING, *arguments, env=keep | environment)


def test_the_plan_needs_no_boto3_no_network_and_no_account_and_shows_no_password():
    index = "https://user:secret@example.org/simple"
    done = without_anything("deploy", "lambda", PIP_EXTRA_INDEX_URL=index)
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "AWS was not asked",
        "\nAdd     Repository         AWS::ECR::Repository",
        "\nAdd     SlowAlarm          AWS::CloudWatch::Alarm",
        "\n$ docker build",
        "--build-arg PIP_EXTRA_INDEX_URL ",
        "\n$ docker push",
        "     100,000 ",
        "The prices are assumptions",
        "page_seconds 0.6, ",
        # 5 copies, 86,400 s, 3,008 MB
        f"at most {5 * 86_400 * 3008 / 1024 * costs.ASSUMED.gb_second:.2f} a day",
    ):
        assert words in done.stdout
    assert "secret" not in done.stdout


def test_apply_without_boto3_is_one_line():
    done = without_anything("deploy", "lambda", "--apply")
    assert done.returncode == 2
    assert done.stderr.startswith("lab: Deploying needs boto3: install it with")
    assert done.stderr.count("\n") == 1


def test_a_public_url_has_both_permissions_and_a_warning_a_signed_one_neither():
    public = without_anything("deploy", "lambda", "--auth", "NONE").stdout
    signed = without_anything("deploy", "lambda", "--image", "v7", "--concurrency", "0").stdout
    assert public.count("AWS::Lambda::Permission") == 2 and "Everybody who knows the URL" in public
    assert "AWS::Lambda::Permission" not in signed and "must be signed" in signed
    assert "$ docker" not in signed and "AWS::Lambda::Function" in signed
    assert "only the account's quota" in signed


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--name", "Text"),
        ("--memory", "10241"),
        ("--concurrency", "-1"),
        ("--auth", "iam"),
        ("--origin", "https://example.org/page"),
        ("--origin", "https://example.org\n"),
        ("--retention", "2"),
        ("--alarm-topic", "mail"),
        ("--model", "/etc/hostname"),
    ],
)
def test_what_aws_would_refuse_is_refused_before(refused, option, value):
    line = refused("deploy", "lambda", f"{option}={value}")
    assert option in line or option == "--model"


def test_costs_are_the_formulas():
    assumed = costs.Assumptions(
        page_seconds=1.0, cold_seconds=4.0, warm_minutes=10.0, gb_second=0.5, request=0.25
    )
    month = costs.lambda_costs(100, memory=2048, assumed=assumed)
    cold = math.exp(-100 * 10 / (730 * 60))
    assert costs.cold_share(100, assumed) == cold
    assert month.compute == pytest.approx(100 * (1.0 + 4.0 * cold) * 2 * 0.5)
    assert (month.requests, month.total) == (25, pytest.approx(sum(month)))
