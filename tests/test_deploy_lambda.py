"""`lab deploy lambda` and `destroy` against moto's server, in place of AWS.

moto's CloudFormation makes the repository, the role, the log group and the function of a new
stack. It neither makes the Function URL and the alarms, nor adds the function to a stack that was
made without one, nor lists outputs: `account.answers` gives these.
"""

import base64
import contextlib
import io
import json
import logging
import os
import sys
import urllib.request

import boto3
import pytest
from conftest import program
from moto.server import ThreadedMotoServer

from lab_utils.deploy import stack as stack_module
from lab_utils.deploy.stack import Stack
from lab_utils.deploy.template import parameters
from text_recognizer.places import project_folder

ACCOUNT, REGION, NAME = "123456789012", "eu-central-1", "text-recognizer"
REPOSITORY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{NAME}"
URL = "https://made.lambda-url.eu-central-1.on.aws/"
OUTPUTS = [
    {"OutputKey": "RepositoryUri", "OutputValue": REPOSITORY},
    {"OutputKey": "Url", "OutputValue": URL},
]
APPLY = ("deploy", "lambda", "--apply", "--image", "latest")


@pytest.fixture(scope="module")
def moto():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    server.stop()


class Account:
    """An empty account. `calls` holds the names and arguments of the calls that were made.

    `answers` changes what AWS says, by operation: a function that gets the parsed answer and the
    HTTP response.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict]] = []
        self.answers = {"DescribeStacks": self.with_outputs}
        self.session = boto3.Session()
        self.client = self.session.client
        self.session.events.register("before-parameter-build.*", self._before)
        self.session.events.register("after-call.*", self._after)

    def _before(self, params, model, **_) -> None:
        self.calls.append((model.name, json.loads(json.dumps(params))))

    def _after(self, model, parsed, http_response, **_) -> None:
        if model.name in self.answers:
            self.answers[model.name](parsed, http_response)

    @staticmethod
    def with_outputs(parsed, _response=None, **changes) -> None:
        for stack in parsed.get("Stacks", []):
            stack |= {"Outputs": OUTPUTS, **changes}

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def push(self) -> None:
        """Puts an image into the repository, as a registry would after a push."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {"mediaType": "latest"},
            "layers": [],
        }
        with contextlib.suppress(self.client("ecr").exceptions.ImageAlreadyExistsException):
            self.client("ecr").put_image(
                repositoryName=NAME, imageManifest=json.dumps(manifest), imageTag="latest"
            )


@pytest.fixture
def account(no_aws, moto, monkeypatch):
    """Calls go to moto's server, and to nobody's real account."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "stand-in")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "stand-in")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setattr(stack_module, "WAIT", {"Delay": 0, "MaxAttempts": 20})
    urllib.request.urlopen(urllib.request.Request(f"{moto}/moto-api/reset", method="POST")).close()
    account = Account()
    monkeypatch.setattr(boto3, "Session", lambda **_: account.session)
    return account


@pytest.fixture
def with_image(account, lab):
    """The account with the repository as `--apply` makes it, and an image in it."""
    code, _, err = lab(*APPLY)
    assert code == 2 and 'has no image "latest"' in err
    account.push()
    return account


def test_apply_makes_the_stack_in_two_steps_and_prints_the_url(with_image, lab):
    options = ("--auth", "none", "--timeout", "60", "--origin", "https://a.example")
    code, out, _ = lab(*APPLY, *options, "--origin", "https://b.example")
    assert (code, out) == (0, f"{URL}\n")
    changes = [arguments for name, arguments in with_image.calls if name == "CreateChangeSet"]
    assert [change["ChangeSetType"] for change in changes] == ["CREATE", "UPDATE"]
    first, second = (
        {one["ParameterKey"]: one["ParameterValue"] for one in change["Parameters"]}
        for change in changes
    )
    assert first["Image"] == "" and second["Image"].startswith(f"{REPOSITORY}@sha256:")
    assert second["AuthType"] == "NONE" and second["RequestSeconds"] == "60"
    assert second["Origins"] == "https://a.example,https://b.example"
    assert second["SlowMilliseconds"] == "30000"
    assert {"Key": "deployment", "Value": NAME} in changes[0]["Tags"]


def test_a_stack_with_an_image_has_the_function_that_the_options_ask_for(account):
    stack = Stack(NAME, account.session, say=str)
    values = parameters(Memory=2048, RequestSeconds=60, LogDays=30, Concurrency=2)
    stack.update(values | {"Image": f"{REPOSITORY}:latest"})
    (function,) = account.client("lambda").list_functions()["Functions"]
    assert (function["FunctionName"], function["MemorySize"]) == (NAME, 2048)
    assert function["Timeout"] == 60
    (group,) = account.client("logs").describe_log_groups()["logGroups"]
    assert (group["logGroupName"], group["retentionInDays"]) == (f"/aws/lambda/{NAME}", 30)
    iam = account.client("iam")
    (role,) = iam.list_roles()["Roles"]
    (name,) = iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
    policy = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
    assert "logs:PutLogEvents" in str(policy) and f"log-group:/aws/lambda/{NAME}:*" in str(policy)
    stack.delete()
    assert account.client("lambda").list_functions()["Functions"] == []
    assert account.client("ecr").describe_repositories()["repositories"] == []


@pytest.mark.parametrize(
    ("reason", "code", "said"),
    [
        ("The submitted information didn't contain changes.", 0, "nothing to change"),
        ("Template error: odd.", 2, "refuses the change set: Template error: odd."),
    ],
)
def test_a_change_set_that_cannot_be_executed_is_removed(with_image, lab, reason, code, said):
    with_image.answers["DescribeChangeSet"] = lambda parsed, response: parsed.update(
        {"Status": "FAILED", "StatusReason": reason}
    )
    found, _, err = lab(*APPLY)
    assert found == code and said in err
    assert "DeleteChangeSet" in with_image.names()


def test_the_plan_shows_the_change_set_and_removes_it(account, lab):
    code, out, _ = lab("deploy", "lambda", "--plan")
    assert code == 0
    assert f"Region {REGION}" in out and "Add     Repository" in out
    assert {"DeleteChangeSet", "DeleteStack"} <= set(account.names())
    assert "ExecuteChangeSet" not in account.names()


def test_a_stack_that_cloudformation_still_works_on_is_left_to_it(with_image, lab):
    with_image.answers["DescribeStacks"] = lambda parsed, response: with_image.with_outputs(
        parsed, StackStatus="CREATE_IN_PROGRESS", Outputs=[]
    )
    code, out, err = lab(*APPLY)
    assert (code, out) == (2, "")
    assert "is CREATE_IN_PROGRESS: run the command again" in err


QUOTA = "decreases account's UnreservedConcurrentExecution below its minimum value of [10]."


def test_a_resource_that_fails_is_named_with_its_reason(with_image, lab):
    begin = len(with_image.calls)

    def failed(parsed, response):
        is_over = "ExecuteChangeSet" in with_image.names()[begin:]
        changes = {"StackStatus": "UPDATE_ROLLBACK_COMPLETE"} if is_over else {}
        with_image.with_outputs(parsed, **changes)

    def events(parsed, response):
        rows = [
            ("Url", "CREATE_FAILED", "Resource creation cancelled"),
            ("Function", "CREATE_FAILED", QUOTA),
            (NAME, "UPDATE_IN_PROGRESS", "User Initiated"),
            ("Function", "CREATE_FAILED", "an older failure"),
        ]
        keys = ("LogicalResourceId", "ResourceStatus", "ResourceStatusReason")
        parsed["StackEvents"] = [dict(zip(keys, row, strict=True)) for row in rows]

    with_image.answers |= {"DescribeStacks": failed, "DescribeStackEvents": events}
    code, out, err = lab(*APPLY)
    assert (code, out) == (2, "")
    last = err.splitlines()[-1]
    assert f"Function failed: {QUOTA}" in last and "`--concurrency 0`" in last


def test_a_stack_of_somebody_else_is_neither_changed_nor_removed(account, lab):
    body = {"Resources": {"Log": {"Type": "AWS::Logs::LogGroup"}}}
    cloudformation = account.client("cloudformation")
    cloudformation.create_stack(StackName=NAME, TemplateBody=json.dumps(body))
    for command in (APPLY, ("deploy", "destroy", "--yes")):
        code, _, err = lab(*command)
        assert code == 2 and "that this lab did not make" in err
    assert len(cloudformation.describe_stacks()["Stacks"]) == 1


def test_destroy_lists_asks_and_removes_all(with_image, lab, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    code, out, _ = lab("deploy", "destroy")
    assert code == 1
    assert f"AWS::ECR::Repository {NAME}" in out and "AWS::IAM::Role" in out
    ecr = with_image.client("ecr")
    assert ecr.describe_repositories()["repositories"]
    # moto knows no EmptyOnDelete.
    ecr.batch_delete_image(repositoryName=NAME, imageIds=[{"imageTag": "latest"}])
    code, _, err = lab("deploy", "destroy", "--yes")
    assert code == 0 and "deleted" in err
    assert ecr.describe_repositories()["repositories"] == []
    code, out, err = lab("deploy", "destroy", "--yes")
    assert (code, out) == (0, "") and "There is no stack" in err


DOCKER = """
echo "$*" >> "$CALLS"
case "$1" in login) cat >> "$CALLS"; echo >> "$CALLS";; esac
"""


@pytest.fixture
def docker(tmp_path, monkeypatch, account):
    """A stand-in for docker that writes down how it is called, and a model to build with."""

    def token(parsed, response):
        account.push()
        secret = base64.b64encode(b"AWS:secret-word").decode()
        parsed["authorizationData"] = [{"authorizationToken": secret}]

    account.answers["GetAuthorizationToken"] = token
    program(tmp_path / "docker", DOCKER)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


MODEL = ("--model", project_folder() / "LICENSE")
"""A file below the project that is there; nothing is really built."""


def test_the_image_is_built_pushed_and_run_by_its_digest(docker, lab):
    code, out, err = lab("deploy", "lambda", "--apply", *MODEL)
    assert (code, out) == (0, f"{URL}\n"), err
    _, build, login, password, tag, push = docker.read_text().splitlines()
    assert build.startswith("build --provenance=false") and "deploy/lambda.Dockerfile" in build
    assert "--build-arg MODEL=LICENSE" in build
    assert login.startswith("login --username AWS --password-stdin")
    assert password == "secret-word" and "secret-word" not in err
    assert tag == f"tag text-recognizer:latest {REPOSITORY}:latest"
    assert push == f"push {REPOSITORY}:latest"


def test_without_docker_or_a_model_nothing_is_made(account, refused, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    command = ("deploy", "lambda", "--apply")
    assert "needs docker" in refused(*command, *MODEL)
    assert "no model file at" in refused(*command, "--model", project_folder() / "none.pt")
    assert account.calls == []


def test_a_refusal_of_aws_is_one_line(account, refused):
    def refuse(parsed, response):
        response.status_code = 400
        parsed["Error"] = {"Code": "ExpiredToken", "Message": "It is\nodd."}

    account.answers["DescribeStacks"] = refuse
    assert "It is odd: run `aws configure`" in refused(*APPLY)


KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
NO_SERVER = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AWS_DEFAULT_REGION": REGION}, "run `aws configure`"),
        (KEYS, "There is no AWS region"),
        (KEYS | NO_SERVER | {"AWS_DEFAULT_REGION": REGION}, "Could not connect to the endpoint"),
    ],
    ids=["no credentials", "no region", "nobody answers"],
)
def test_what_is_missing_is_one_line(no_aws, refused, monkeypatch, environment, said):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert said in refused(*APPLY)


def test_the_deployers_policy_allows_every_call_of_ours(with_image, lab):
    lab("deploy", "lambda", "--plan")
    lab(*APPLY)
    lab("deploy", "destroy", "--yes")
    policy = json.loads((project_folder() / "deploy" / "deployer_policy.json").read_text())
    actions = [statement["Action"] for statement in policy["Statement"]]
    allowed = {one for some in actions for one in ([some] if isinstance(some, str) else some)}
    names = {action.split(":")[1] for action in allowed}
    ours = set(with_image.names()) - {"PutImage"}
    assert ours <= names and len(ours) > 7
    assert not any("*" in action for action in allowed)
