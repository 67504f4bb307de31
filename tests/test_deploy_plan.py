"""The plan and the costs: what they say, that they need nothing, and what settings are refused."""

import math
import os
import subprocess
import sys

import pytest

from lab_utils.deploy import costs
from lab_utils.deploy.errors import DeployError
from lab_utils.deploy.image import Build, build_command
from lab_utils.deploy.plan import PAGES, most_a_day, plan
from lab_utils.deploy.settings import LambdaSettings
from text_recognizer.places import project_folder

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
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_ANYTHING, *arguments],
        env=keep | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_plan_needs_no_boto3_no_network_and_no_account():
    done = without_anything("deploy", "lambda")
    assert (done.returncode, done.stderr) == (0, "")
    actions = [
        "ecr:CreateRepository",
        "iam:CreateRole",
        "logs:CreateLogGroup",
        "$ docker build",
        "$ docker push",
        "lambda:CreateFunction",
        "lambda:PutFunctionConcurrency",
        "lambda:CreateFunctionUrlConfig",
        "cloudwatch:PutMetricAlarm",
    ]
    places = [done.stdout.index(action) for action in actions]
    assert places == sorted(places)
    assert "region REGION" in done.stdout
    for pages in ("10 ", "1,000 ", "100,000 "):
        assert f"\n{pages.rjust(12)}" in done.stdout
    assert "The prices are assumptions" in done.stdout


def test_apply_without_boto3_is_one_line():
    done = without_anything("deploy", "lambda", "--apply")
    assert done.returncode == 2
    assert done.stderr.startswith("lab: Deploying needs boto3: install it with")
    assert done.stderr.count("\n") == 1


def test_the_plan_takes_the_environments_region_and_the_options():
    done = without_anything("deploy", "lambda", "--name", "demo", AWS_REGION="eu-west-1")
    assert "region eu-west-1" in done.stdout
    assert "demo-eu-west-1" in done.stdout
    assert "text-recognizer-eu" not in done.stdout


def test_a_password_in_the_index_address_is_not_shown():
    done = without_anything(
        "deploy", "lambda", PIP_EXTRA_INDEX_URL="https://user:secret@example.org/simple"
    )
    assert "--build-arg PIP_EXTRA_INDEX_URL " in done.stdout
    assert "secret" not in done.stdout


def test_a_public_url_has_both_permissions_and_a_warning_a_signed_one_neither():
    public, signed = plan(LambdaSettings(auth="NONE")), plan(LambdaSettings())
    added = [call.arguments for call in public.calls if call.operation == "AddPermission"]
    assert [permission["Action"] for permission in added] == [
        "lambda:InvokeFunctionUrl",
        "lambda:InvokeFunction",
    ]
    assert added[0]["FunctionUrlAuthType"] == "NONE"
    assert added[1]["InvokedViaFunctionUrl"] is True
    assert "Everybody who knows the URL" in str(public)
    assert not any(call.operation == "AddPermission" for call in signed.calls)
    assert "must be signed" in str(signed)


def test_a_given_image_is_neither_built_nor_pushed():
    shown = plan(image="sha256:" + "0" * 64)
    (step,) = (step for step in shown.steps if step.title == "image")
    (call,) = step.actions
    assert call.arguments["imageIds"] == [{"imageDigest": "sha256:" + "0" * 64}]
    (step,) = (step for step in plan(image="v7").steps if step.title == "image")
    assert step.actions[0].arguments["imageIds"] == [{"imageTag": "v7"}]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Text"},
        {"name": "a--b"},
        {"name": "-a"},
        {"name": "a" * 33},
        {"memory": 512},
        {"memory": 10241},
        {"timeout": 901},
        {"concurrency": -1},
        {"auth": "iam"},
        {"origins": ["example.org"]},
        {"origins": ["https://example.org/page"]},
        {"retention": 2},
        {"alarm_topic": "mail"},
    ],
    ids=str,
)
def test_what_aws_would_refuse_is_refused_before(wrong):
    with pytest.raises(DeployError) as refusal:
        LambdaSettings(**wrong)
    assert "\n" not in str(refusal.value) and str(refusal.value).endswith(".")


def test_wrong_options_are_one_line(lab):
    code, out, err = lab("deploy", "lambda", "--memory", "128")
    assert (code, out) == (2, "")
    assert err == "lab: --memory is 128; it must be 1536 to 10240.\n"
    code, _, err = lab("deploy", "lambda", "--model", "/etc/hostname")
    assert code == 2
    assert "outside the project" in err and err.count("\n") == 1


def test_docker_and_buildah_are_told_the_same():
    build = Build(tag="reader:1", model=".lab/models/other.pt", base="debian", builder="pip")
    for tool in ("docker", "buildah"):
        command = build_command(tool, build)
        assert command[:2] == [tool, "build"] and command[-1] == "."
        for pair in (
            ("--file", "deploy/lambda.Dockerfile"),
            ("--tag", "reader:1"),
            ("--platform", "linux/amd64"),
            ("--build-arg", "MODEL=.lab/models/other.pt"),
            ("--build-arg", "BASE=debian"),
            ("--build-arg", "BUILDER=pip"),
        ):
            assert pair in zip(command, command[1:], strict=False), pair
    assert "--provenance=false" in build_command("docker", build)  # Lambda takes no image index


def test_wheels_in_a_folder_are_buildahs_alone(tmp_path):
    build = Build(wheels=tmp_path)
    command = build_command("buildah", build)
    assert f"{tmp_path}:/wheels:ro" in command and "PIP_NO_INDEX=1" in command
    with pytest.raises(DeployError, match="use --tool buildah"):
        build_command("docker", build)


def test_costs_are_the_formulas():
    usage = costs.Usage(page_seconds=1.0, cold_seconds=4.0, warm_minutes=10.0)
    prices = costs.UnitPrices(gb_second=0.5, request=0.25)
    month = costs.lambda_costs(100, memory=2048, usage=usage, prices=prices)
    cold = math.exp(-100 * 10 / (730 * 60))
    assert month.compute == pytest.approx(100 * (1.0 + 4.0 * cold) * 2 * 0.5)
    assert month.requests == 25
    parts = ("compute", "requests", "images", "logs", "alarms", "transfer")
    assert month.total == pytest.approx(sum(getattr(month, part) for part in parts))


def test_nearly_every_page_of_a_quiet_month_is_cold_and_none_of_a_busy_one():
    assert costs.cold_share(0) == 1
    assert costs.cold_share(10) > 0.99
    assert costs.cold_share(100_000) < 1e-6


def test_the_busiest_day_is_bounded_by_the_concurrency():
    # 5 copies, 86,400 s, 2 GB, at the price of a GB-second
    most = 5 * 86_400 * 2 * costs.PRICES.gb_second
    assert f"{most:.2f} a day" in most_a_day(LambdaSettings(memory=2048))
    assert "quota alone" in most_a_day(LambdaSettings(concurrency=0))


def test_cost_command_shows_the_pages_asked_for_and_every_price(lab):
    code, out, _ = lab("deploy", "cost", "--pages", "500", "--pages", "20000", "--memory", "2048")
    assert code == 0
    assert "\n        500 " in out and "\n     20,000 " in out and "2048 MB" in out
    for price in vars(costs.PRICES):
        assert price in out


def test_the_pages_numbers_are_the_commands():
    page = (project_folder() / "deploy" / "README.md").read_text()
    table = costs.cost_table(PAGES, LambdaSettings().memory)
    assert f"```\n{table}\n```" in page
    assert most_a_day(LambdaSettings()).split(" at most ")[1].split()[0] in page
    assert f"{costs.front_end_cost():.2f} a month" in page
