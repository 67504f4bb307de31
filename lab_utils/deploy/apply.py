"""Makes what is missing of a deployment, and nothing twice: after an interruption, or with other
settings, the same command goes on from what is there."""

import base64
import time
from collections.abc import Callable
from dataclasses import replace

from lab_utils.deploy.aws import Aws, Call
from lab_utils.deploy.errors import DeployError
from lab_utils.deploy.function import Function
from lab_utils.deploy.image import Build, build_command, login_command, push_commands, run
from lab_utils.deploy.parts import after_image, before_image
from lab_utils.deploy.plan import IMAGE_TAG, find_image
from lab_utils.deploy.resource import Resource, Target
from lab_utils.deploy.settings import LambdaSettings

READY_SECONDS = 300.0
"""For a function to take its image in."""

ROLE_SECONDS = 60.0
"""For a new role to be known everywhere: IAM tells its regions one after the other."""

Say = Callable[[str], None]


def find_target(settings: LambdaSettings, aws: Aws) -> Target:
    """The deployment in the account that the credentials belong to."""
    identity = aws.call(Call("sts", "GetCallerIdentity"))
    return Target(
        settings,
        region=aws.region,
        account=identity["Account"],
        partition=identity["Arn"].split(":")[1],
    )


def apply(
    settings: LambdaSettings,
    aws: Aws,
    tool: str | None = None,
    build: Build | None = None,
    image: str | None = None,
    say: Say = print,
) -> str:
    """Deploys the model service; returns the Function URL.

    Args:
        tool: docker or buildah, for building and pushing.
        build: how the image is built.
        image: tag or digest of an image that is in the repository; None to build and push one.
        say: takes a line for everything that is done.

    Raises DeployError; what was made until then stays, and the next call goes on from it.
    """
    target = find_target(settings, aws)
    say(f"account {target.account}, region {target.region}")
    for resource in before_image(target):
        _settle(resource, aws, say)
    if image is None:
        _push(target, aws, tool or "docker", build or Build(), say)
    target = replace(target, digest=_digest(target, aws, image or IMAGE_TAG))
    say(f"image {target.image}")
    for resource in after_image(target):
        if isinstance(resource, Function) and resource.is_ours(aws):
            _wait(resource.name, aws, say)
        _settle(resource, aws, say)
    url = aws.call(Call("lambda", "GetFunctionUrlConfig", {"FunctionName": settings.name}))
    return url["FunctionUrl"]


def _settle(resource: Resource, aws: Aws, say: Say) -> None:
    """Makes the calls that a resource is missing."""
    calls = resource.missing(aws)
    for call in calls:
        say(f"{resource.kind} {resource.name}: {call.action}")
        if call.operation == "CreateFunction":
            _with_new_role(lambda call=call: aws.call(call), say)
        else:
            aws.call(call)
        if call.operation in _STARTS_WORK:
            _wait(resource.name, aws, say)
    if not calls:
        say(f"{resource.kind} {resource.name}: is there as wanted")


_STARTS_WORK = ("CreateFunction", "UpdateFunctionCode", "UpdateFunctionConfiguration")


def _with_new_role(create: Callable[[], object], say: Say) -> None:
    end = time.monotonic() + ROLE_SECONDS
    while True:
        try:
            create()
            return
        except DeployError as error:
            if "cannot be assumed" not in str(error) or time.monotonic() > end:
                raise
        say("waiting for the new role to be known to Lambda")
        time.sleep(5)


def _wait(name: str, aws: Aws, say: Say) -> None:
    """Waits until a function is neither being made nor changed."""
    start, told = time.monotonic(), 0.0
    while True:
        found = aws.call(Call("lambda", "GetFunctionConfiguration", {"FunctionName": name}))
        states = (found.get("State", "Active"), found.get("LastUpdateStatus", "Successful"))
        if "Failed" in states:
            reason = found.get("StateReason") or found.get("LastUpdateStatusReason") or "no reason"
            raise DeployError(
                f"AWS could not start the function: {reason.rstrip('.')}. Mend that and apply "
                "again, or remove the deployment with `lab deploy destroy`."
            )
        if states[0] in ("Active", "Inactive") and states[1] == "Successful":
            return
        seconds = time.monotonic() - start
        if seconds > READY_SECONDS:
            raise DeployError(
                f"The function is still {' and '.join(states)} after {READY_SECONDS:.0f} s: run "
                "the command again to go on waiting."
            )
        if seconds - told >= 5:
            told = seconds
            say(f"waiting for the function ({states[0]}, {states[1]}, {seconds:.0f} s)")
        time.sleep(1)


def _push(target: Target, aws: Aws, tool: str, build: Build, say: Say) -> None:
    """Builds the image and pushes it; layers that the registry has are not sent again."""
    command = build_command(tool, build)
    say(f"image: {' '.join(command[:2])}")
    run(command)
    token = aws.call(Call("ecr", "GetAuthorizationToken"))["authorizationData"][0]
    password = base64.b64decode(token["authorizationToken"]).decode().split(":", 1)[1]
    registry = target.repository.split("/")[0]
    run(login_command(tool, registry), password=password)
    for command in push_commands(tool, build.tag, f"{target.repository}:{IMAGE_TAG}"):
        say(f"image: {' '.join(command)}")
        run(command)


def _digest(target: Target, aws: Aws, image: str) -> str:
    call = find_image(target, image)
    found = aws.call_if_there(call)
    if not found or not found["imageDetails"]:
        raise DeployError(
            f'The repository {target.settings.name} has no image "{image}": leave --image away '
            "to build and push one."
        )
    return found["imageDetails"][0]["imageDigest"]
