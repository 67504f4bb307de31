"""`lab deploy lambda` and `destroy` against moto's server, which stands in for AWS: what the plan
says is what happens, once, also after interruptions, and is gone again afterwards."""

import contextlib
import hashlib
import io
import json
import logging
import stat
import sys
import threading
import urllib.request
from collections import Counter
from functools import cache
from types import SimpleNamespace

import boto3
import pytest
from conftest import free_port
from moto.server import ThreadedMotoServer

from lab_utils.deploy.apply import apply
from lab_utils.deploy.aws import Aws, Call
from lab_utils.deploy.destroy import destroy, find
from lab_utils.deploy.errors import DeployError
from lab_utils.deploy.plan import plan
from lab_utils.deploy.settings import LambdaSettings
from text_recognizer.places import project_folder

ACCOUNT, REGION, NAME = "123456789012", "eu-central-1", "text-recognizer"
LOOKS = ("Get", "List", "Describe")


def quiet(line: str) -> None:
    """Says nothing."""


@pytest.fixture(scope="module")
def moto():
    log = logging.getLogger("werkzeug")
    level = log.level
    log.setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    server.stop()
    log.setLevel(level)


@pytest.fixture(scope="module")
def session():
    """One session for all tests: loading the descriptions of six services takes its time."""
    session = boto3.Session()
    hooks = {
        "before-parameter-build.*": lambda params, model, **_: (
            Recorder.current and Recorder.current.before(params, model)
        ),
        "before-call.*": lambda model, **_: Recorder.current and Recorder.current.answer(model),
        "after-call.*": lambda model, http_response, **_: (
            Recorder.current and Recorder.current.after(model, http_response.status_code)
        ),
    }
    for event, hook in hooks.items():
        session.events.register(event, hook)
    return session


@pytest.fixture
def account(moto, monkeypatch, tmp_path, session):
    """Calls to an empty account: the environment points at it, and at nobody's real one."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "stand-in")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "stand-in")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    urllib.request.urlopen(urllib.request.Request(f"{moto}/moto-api/reset", method="POST")).close()
    return shared_aws(session)


@cache
def shared_aws(session) -> Aws:
    """Its clients are made once; all that they need of the environment stays the same."""
    return Aws(session=session)


class Recorder:
    """Writes down the calls that are made while it is in force, and can break them off.

    `changes_left` changes are made; after the last one Ctrl-C comes before its answer does.
    `answers` gives what AWS would say, by operation: a function that returns an error's code and
    message, a dictionary to answer with, or None to let the call pass.
    """

    current: "Recorder | None" = None

    def __init__(self, changes_left: int | None = None, answers: dict | None = None) -> None:
        self.calls: list[Call] = []
        self.changes_left = changes_left
        self.answers = answers or {}

    def __enter__(self) -> "Recorder":
        Recorder.current = self
        return self

    def __exit__(self, *_) -> None:
        Recorder.current = None

    @property
    def changes(self) -> list[Call]:
        return [call for call in self.calls if not call.operation.startswith(LOOKS)]

    def before(self, params, model) -> None:
        # A copy: botocore goes on working on the dictionary.
        self.calls.append(Call(_service(model), model.name, json.loads(json.dumps(params))))

    def answer(self, model):
        answer = self.answers.get(model.name, lambda: None)()
        if answer is None:
            return None
        if isinstance(answer, dict):
            return SimpleNamespace(status_code=200, headers={}, content=b""), answer
        error = {"Code": answer[0], "Message": answer[1]}
        return SimpleNamespace(status_code=400, headers={}, content=b""), {
            "Error": error,
            "ResponseMetadata": {},
        }

    def after(self, model, status: int) -> None:
        if self.changes_left is None or model.name.startswith(LOOKS) or status >= 300:
            return
        self.changes_left -= 1
        if self.changes_left == 0:
            raise KeyboardInterrupt


def _service(model) -> str:
    names = {"monitoring": "cloudwatch", "api.ecr": "ecr"}
    prefix = model.service_model.endpoint_prefix
    return names.get(prefix, prefix)


def push(aws: Aws, text: str = "first") -> None:
    """Puts an image of no layers into the repository, as a registry would after a push."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": text},
        "layers": [],
    }
    image = {
        "imageManifest": json.dumps(manifest),
        "imageDigest": "sha256:" + hashlib.sha256(text.encode()).hexdigest(),
        "imageTag": "latest",
    }
    with contextlib.suppress(DeployError):  # it is there already
        aws.call(Call("ecr", "PutImage", {"repositoryName": NAME} | image))


def deploy(aws: Aws, settings: LambdaSettings | None = None) -> str:
    return apply(settings or LambdaSettings(), aws, image="latest", say=quiet)


def remove(aws: Aws) -> None:
    destroy(find(NAME, aws), aws, say=quiet)


@pytest.fixture
def with_image(account):
    """The account with the repository as `apply` makes it, and an image in it."""
    with pytest.raises(DeployError, match='has no image "latest"'):
        deploy(account)
    push(account)
    return account


def state(aws: Aws) -> dict:
    """What the account holds, without what differs each time."""
    function = aws.find("lambda", "GetFunction", FunctionName=NAME)
    policy = aws.find("lambda", "GetPolicy", FunctionName=NAME)
    url = aws.find("lambda", "GetFunctionUrlConfig", FunctionName=NAME)
    role = {"RoleName": f"{NAME}-{REGION}"}
    repository = {"repositoryName": NAME}
    return {
        "function": {
            key: function["Configuration"].get(key)
            for key in ("MemorySize", "Timeout", "Role", "PackageType", "Architectures")
        },
        "image": function["Code"]["ImageUri"],
        "tags": function["Tags"],
        "concurrency": function.get("Concurrency", {}).get("ReservedConcurrentExecutions"),
        "policy": json.loads(policy["Policy"])["Statement"] if policy else [],
        "url": {key: url.get(key) for key in ("AuthType", "Cors", "InvokeMode")},
        "role": aws.find("iam", "GetRole", **role)["Role"]["AssumeRolePolicyDocument"],
        "role policies": aws.find("iam", "ListRolePolicies", **role)["PolicyNames"],
        "attached": aws.find("iam", "ListAttachedRolePolicies", **role)["AttachedPolicies"],
        "logs": [
            (group["logGroupName"], group.get("retentionInDays"))
            for group in aws.find("logs", "DescribeLogGroups")["logGroups"]
        ],
        "alarms": [
            {
                key: alarm.get(key)
                for key in ("AlarmName", "MetricName", "Threshold", "AlarmActions")
            }
            for alarm in aws.find("cloudwatch", "DescribeAlarms")["MetricAlarms"]
        ],
        "repositories": [
            repository["repositoryName"]
            for repository in aws.find("ecr", "DescribeRepositories")["repositories"]
        ],
        "lifecycle": aws.find("ecr", "GetLifecyclePolicy", **repository)["lifecyclePolicyText"],
        "pull": aws.find("ecr", "GetRepositoryPolicy", **repository)["policyText"],
    }


def is_empty(aws: Aws) -> bool:
    lists = [
        aws.find("lambda", "ListFunctions")["Functions"],
        aws.find("iam", "ListRoles")["Roles"],
        aws.find("logs", "DescribeLogGroups")["logGroups"],
        aws.find("cloudwatch", "DescribeAlarms")["MetricAlarms"],
        aws.find("ecr", "DescribeRepositories")["repositories"],
    ]
    return not any(lists)


@pytest.mark.parametrize(
    "settings",
    [
        LambdaSettings(),
        LambdaSettings(auth="NONE", origins=["https://example.org"], concurrency=0, memory=2048),
    ],
    ids=["signed", "public"],
)
def test_apply_makes_the_calls_of_the_plan_and_no_others(account, settings):
    planned = [
        [call.action, call.arguments]
        for call in plan(settings, REGION, image="latest").calls
        if not call.operation.startswith(LOOKS)
    ]
    with Recorder() as recorder:
        with pytest.raises(DeployError):
            deploy(account, settings)
        push(account)
        assert deploy(account, settings).startswith("https://")
    made = [[call.action, call.arguments] for call in recorder.changes]
    del made[next(i for i, (action, _) in enumerate(made) if action == "ecr:PutImage")]
    (image,) = account.find("ecr", "DescribeImages", repositoryName=NAME)["imageDetails"]
    text = json.dumps(planned).replace("ACCOUNT", ACCOUNT)
    assert json.loads(text.replace("sha256:DIGEST", image["imageDigest"])) == made


def test_a_second_apply_changes_nothing(with_image):
    first = deploy(with_image)
    before = state(with_image)
    with Recorder() as recorder:
        assert deploy(with_image) == first
    assert recorder.changes == []
    assert state(with_image) == before


def test_interrupted_after_every_single_change_it_ends_where_one_run_ends(with_image):
    settings = LambdaSettings(auth="NONE")
    deploy(with_image, settings)
    wanted = state(with_image)
    remove(with_image)
    assert is_empty(with_image)

    changes = []
    for _ in range(40):
        try:
            with Recorder(changes_left=1) as recorder:
                deploy(with_image, settings)
            break
        except KeyboardInterrupt:
            changes += recorder.changes
        except DeployError as error:
            assert "has no image" in str(error)
            push(with_image)
    else:
        pytest.fail("it does not come to an end")
    assert state(with_image) == wanted
    assert len(changes) >= 14
    counts = Counter(f"{call.action} {call.arguments}" for call in changes)
    assert set(counts.values()) == {1}, counts


def test_ctrl_c_leaves_one_line_and_exit_code_130(with_image, lab, monkeypatch):
    monkeypatch.setattr("lab_utils.deploy.aws.Aws", lambda region=None: with_image)
    with Recorder(changes_left=1):
        code, out, err = lab("deploy", "lambda", "--apply", "--image", "latest")
    assert (code, out) == (130, "")
    assert err.splitlines()[-1].startswith("Interrupted: the same command goes on")
    assert "Traceback" not in err


def test_other_settings_change_what_is_there_and_nothing_is_left_of_the_old(with_image):
    url = deploy(with_image)
    signed = state(with_image)
    settings = LambdaSettings(
        auth="NONE",
        memory=2048,
        timeout=60,
        concurrency=2,
        origins=["https://example.org"],
        retention=30,
        alarm_topic=f"arn:aws:sns:{REGION}:{ACCOUNT}:mail",
    )
    assert deploy(with_image, settings) == url
    public = state(with_image)
    assert public["function"]["MemorySize"] == 2048
    assert public["function"]["Timeout"] == 60
    assert public["concurrency"] == 2
    assert public["url"]["AuthType"] == "NONE"
    assert public["url"]["Cors"]["AllowOrigins"] == ["https://example.org"]
    assert public["logs"] == [(f"/aws/lambda/{NAME}", 30)]
    assert {alarm["Threshold"] for alarm in public["alarms"]} == {1.0, 5.0, 30000.0}
    assert all(alarm["AlarmActions"] for alarm in public["alarms"])
    assert {statement["Action"] for statement in public["policy"]} == {
        "lambda:InvokeFunctionUrl",
        "lambda:InvokeFunction",
    }
    with Recorder() as recorder:
        assert deploy(with_image) == url
    (update,) = (c for c in recorder.changes if c.operation == "UpdateFunctionUrlConfig")
    assert update.arguments["Cors"] == {}
    back = state(with_image)
    del back["url"]["Cors"], signed["url"]["Cors"]  # AWS empties it, moto does not
    assert back["policy"] == []
    assert back == signed


def test_a_newly_pushed_image_updates_the_code_alone(with_image):
    deploy(with_image)
    before = state(with_image)
    push(with_image, "second")
    with Recorder() as recorder:
        deploy(with_image)
    assert [call.action for call in recorder.changes] == ["lambda:UpdateFunctionCode"]
    after = state(with_image)
    assert after.pop("image") != before.pop("image")
    assert after == before


def test_the_role_may_write_its_own_log_and_nothing_else(with_image):
    deploy(with_image)
    (name,) = state(with_image)["role policies"]
    role = f"{NAME}-{REGION}"
    policy = with_image.find("iam", "GetRolePolicy", RoleName=role, PolicyName=name)
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert state(with_image)["attached"] == []
    assert set(statement["Action"]) == {"logs:CreateLogStream", "logs:PutLogEvents"}
    assert statement["Resource"].endswith(f"{ACCOUNT}:log-group:/aws/lambda/{NAME}:*")


def test_the_deployers_policy_allows_every_call_and_no_other_service(account):
    """Of everything that deploying, changing and removing asks of AWS."""
    with Recorder() as recorder:
        for settings in (LambdaSettings(), LambdaSettings(auth="NONE", timeout=60, concurrency=0)):
            with contextlib.suppress(DeployError):
                deploy(account, settings)
            push(account)
            deploy(account, settings)
        deploy(account)
        push(account, "second")
        deploy(account)
        remove(account)
    called = {call.action for call in recorder.calls}
    policy = json.loads((project_folder() / "deploy" / "deployer_policy.json").read_text())
    allowed = set()
    for statement in policy["Statement"]:
        actions = statement["Action"]
        allowed |= {actions} if isinstance(actions, str) else set(actions)
    assert len(called) > 30
    assert called <= allowed
    assert {action.split(":")[0] for action in allowed} == {
        action.split(":")[0] for action in called
    }
    assert not any("*" in action for action in allowed)


THEIR_ALARM = {
    "AlarmName": f"{NAME}-slow",
    "Namespace": "theirs",
    "MetricName": "theirs",
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 7.0,
    "ComparisonOperator": "LessThanThreshold",
}


def test_a_resource_of_somebody_else_is_neither_changed_nor_removed(with_image):
    aws = with_image
    aws.call(Call("logs", "CreateLogGroup", {"logGroupName": f"/aws/lambda/{NAME}-2"}))
    aws.call(Call("cloudwatch", "PutMetricAlarm", THEIR_ALARM))
    with pytest.raises(DeployError, match=f"alarm {NAME}-slow that this lab did not make"):
        deploy(aws)
    assert [resource.name for resource in find(NAME, aws).foreign] == [f"{NAME}-slow"]
    remove(aws)
    (alarm,) = aws.find("cloudwatch", "DescribeAlarms")["MetricAlarms"]
    assert alarm["Namespace"] == "theirs"
    (group,) = aws.find("logs", "DescribeLogGroups")["logGroups"]
    assert group["logGroupName"] == f"/aws/lambda/{NAME}-2"
    assert find(NAME, aws).ours == []


def test_destroy_lists_asks_and_removes_all(with_image, lab, monkeypatch):
    deploy(with_image, LambdaSettings(auth="NONE"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    code, out, _ = lab("deploy", "destroy")
    assert code == 1
    assert {line.rsplit(" ", 1)[1] for line in out.splitlines()[:7]} == {
        NAME,
        f"{NAME}-{REGION}",
        f"/aws/lambda/{NAME}",
        *(f"{NAME}-{alarm}" for alarm in ("errors", "throttles", "slow")),
    }
    assert not is_empty(with_image)
    code, _, err = lab("deploy", "destroy", "--yes")
    assert code == 0, err
    assert is_empty(with_image)
    code, _, err = lab("deploy", "destroy", "--yes")
    assert (code, err) == (0, f"Nothing of {NAME} is in {REGION}.\n")


def test_an_interrupted_destroy_goes_on(with_image):
    deploy(with_image, LambdaSettings(auth="NONE"))
    for changes in range(1, 20):
        try:
            with Recorder(changes_left=changes):
                remove(with_image)
            break
        except KeyboardInterrupt:
            pass
    else:
        pytest.fail("it does not come to an end")
    assert is_empty(with_image)


def test_everything_carries_the_tags(with_image):
    deploy(with_image)
    found = find(NAME, with_image)
    assert len(found.ours) == 7
    for resource in found.ours:
        assert resource.tags(with_image) == {
            "project": "text-recognizer-deployment-lab",
            "deployment": NAME,
        }


DOCKER = """#!{python}
# Stands in for docker: writes down how it is called, and a push reaches the stand-in for AWS.
import json, os, sys, urllib.request
with open({log!r}, "a") as log:
    text = sys.stdin.read() if sys.argv[1] == "login" else ""
    log.write(json.dumps([sys.argv[1:], text]) + "\\n")
if sys.argv[1] == "push":
    name, tag = sys.argv[2].split("/")[1].split(":")
    manifest = {{"schemaVersion": 2, "layers": [], "config": {{"digest": "sha256:" + 64 * "b"}},
                 "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}}
    body = {{"repositoryName": name, "imageTag": tag, "imageManifest": json.dumps(manifest)}}
    headers = {{
        "X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.PutImage",
        "Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/{region}/ecr/aws4_request",
        "Content-Type": "application/x-amz-json-1.1",
    }}
    urllib.request.urlopen(urllib.request.Request(
        os.environ["AWS_ENDPOINT_URL"], json.dumps(body).encode(), headers)).close()
"""


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """A `docker` on the PATH that writes its calls into a file, and that file."""
    log = tmp_path / "docker.jsonl"
    script = tmp_path / "bin" / "docker"
    script.parent.mkdir()
    script.write_text(DOCKER.format(python=sys.executable, log=str(log), region=REGION))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    return log


def test_apply_builds_and_pushes_the_image_as_planned_and_prints_the_url(
    account, lab, docker, monkeypatch
):
    monkeypatch.setattr("lab_utils.deploy.image.check_model", lambda model: None)
    code, out, err = lab("deploy", "lambda", "--apply")
    assert code == 0, err
    (url,) = out.splitlines()
    assert url.startswith("https://")
    assert "ecr:CreateRepository" in err and "lambda:CreateFunction" in err
    planned = plan(region=REGION)
    commands = [
        ["docker", *command] for command, _ in map(json.loads, docker.read_text().splitlines()[1:])
    ]
    wanted = [a for step in planned.steps for a in step.actions if isinstance(a, list)]
    assert commands == json.loads(json.dumps(wanted).replace("ACCOUNT", ACCOUNT))
    password = json.loads(docker.read_text().splitlines()[2])[1]
    assert password and password not in err
    assert state(account)["image"].startswith(
        f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{NAME}@sha256:"
    )


def test_without_a_model_file_nothing_is_made(account, lab, docker, monkeypatch, tmp_path):
    monkeypatch.setattr("lab_utils.deploy.image.project_folder", lambda: tmp_path)
    code, _, err = lab("deploy", "lambda", "--apply")
    assert code == 2
    assert "There is no model file" in err and err.count("\n") == 1
    assert is_empty(account)


def test_without_docker_and_buildah_one_line_says_so(account, lab, monkeypatch, tmp_path):
    monkeypatch.setattr("lab_utils.deploy.image.check_model", lambda model: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = lab("deploy", "lambda", "--apply")
    assert code == 2
    assert "needs docker with its engine running, or buildah" in err and err.count("\n") == 1
    assert is_empty(account)


REFUSALS = [
    ("CreateRole", "AccessDenied", "no", "may not call iam:CreateRole"),
    ("GetCallerIdentity", "ExpiredToken", "old", "have expired: run `aws configure`"),
    ("GetCallerIdentity", "InvalidClientTokenId", "?", "does not know these credentials"),
    (
        "PutFunctionConcurrency",
        "InvalidParameterValueException",
        "Specified ReservedConcurrentExecutions for function decreases account's "
        "UnreservedConcurrentExecution below its minimum value of [10].",
        "--concurrency 0",
    ),
    (
        "CreateFunction",
        "InvalidParameterValueException",
        "'MemorySize' value failed to satisfy constraint: Member must have value less than",
        "lower --memory",
    ),
    ("CreateRepository", "LimitExceededException", "1000", "A quota of the account"),
    ("CreateLogGroup", "ThrottlingException", "Rate exceeded", "in a minute"),
    ("CreateFunction", "Odd", "It is\nodd.", "AWS refused lambda:CreateFunction: Odd: It is odd."),
]


@pytest.mark.parametrize(
    ("operation", "code", "message", "told"), REFUSALS, ids=[row[1] for row in REFUSALS]
)
def test_a_refusal_of_aws_is_one_line_and_apply_goes_on_later(
    account, lab, session, monkeypatch, operation, code, message, told
):
    monkeypatch.setattr("lab_utils.deploy.aws.Aws", lambda region=None: account)
    if operation not in ("GetCallerIdentity", "CreateRepository", "CreateRole", "CreateLogGroup"):
        lab("deploy", "lambda", "--apply", "--image", "latest")
        push(account)
    with Recorder(answers={operation: lambda: (code, message)}):
        end, out, err = lab("deploy", "lambda", "--apply", "--image", "latest")
    assert (end, out) == (2, "")
    assert told in err.splitlines()[-1] and err.splitlines()[-1].startswith("lab: ")
    lab("deploy", "lambda", "--apply", "--image", "latest")
    push(account)
    end, out, err = lab("deploy", "lambda", "--apply", "--image", "latest")
    assert end == 0, err
    assert out.startswith("https://")


def test_a_role_that_lambda_does_not_know_yet_is_waited_for(with_image, monkeypatch):
    refusal = (
        "InvalidParameterValueException",
        "The role defined for the function cannot be assumed by Lambda.",
    )
    answers, waits = iter([refusal, refusal, None]), []
    monkeypatch.setattr("lab_utils.deploy.apply.time.sleep", waits.append)
    with Recorder(answers={"CreateFunction": lambda: next(answers)}):
        assert deploy(with_image).startswith("https://")
    assert len(waits) == 2


def test_a_pending_function_is_waited_for_and_a_failed_one_told(with_image, monkeypatch):
    deploy(with_image)
    waits = []
    monkeypatch.setattr("lab_utils.deploy.apply.time.sleep", waits.append)
    states = iter([{"State": "Pending"}, {"LastUpdateStatus": "InProgress"}, {}])
    with Recorder(answers={"GetFunctionConfiguration": lambda: next(states)}):
        deploy(with_image)
    assert len(waits) == 2

    failed = {"State": "Failed", "StateReason": "The image manifest is odd."}
    with (
        Recorder(answers={"GetFunctionConfiguration": lambda: failed}),
        pytest.raises(DeployError, match="could not start the function: The image manifest is odd"),
    ):
        deploy(with_image)


def test_no_credentials_is_one_line(account, lab, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    code, out, err = lab("deploy", "lambda", "--apply", "--image", "latest")
    assert (code, out) == (2, "")
    assert "There are no AWS credentials" in err and err.count("\n") == 1


def test_no_region_is_one_line(account, lab, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    code, _, err = lab("deploy", "lambda", "--apply", "--image", "latest")
    assert code == 2
    assert "There is no AWS region" in err and err.count("\n") == 1


def test_an_address_where_nobody_answers_is_one_line(account, lab, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    code, _, err = lab("deploy", "lambda", "--apply", "--image", "latest")
    assert code == 2
    assert "AWS cannot be reached for sts:GetCallerIdentity" in err and err.count("\n") == 1


def test_two_applies_at_once_leave_one_deployment(with_image):
    """One may be refused where both make the same thing; it goes on when run again."""
    answers = []

    def run() -> None:
        try:
            answers.append(deploy(with_image))
        except DeployError as error:
            answers.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 2
    assert deploy(with_image) in answers
    assert len(with_image.find("lambda", "ListFunctions")["Functions"]) == 1
