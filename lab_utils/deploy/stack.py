"""The CloudFormation stack of `deploy/template.yaml`: proposed, made, changed and deleted.

CloudFormation does the work: it knows what is missing, undoes what failed, and goes on when this
process ends. boto3's standard variables hold: AWS_PROFILE, AWS_REGION, and AWS_ENDPOINT_URL for a
server that takes AWS's place. What boto3 raises comes out as it is; see `errors.aws_errors`.
"""

import base64
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from lab_utils.deploy.errors import DeployError, aws_errors, one_line
from lab_utils.deploy.image import push_commands, run
from lab_utils.deploy.template import template_body

PROJECT_TAG = "text-recognizer-deployment-lab"
IMAGE_TAG = "latest"
"""The tag of pushed images. The function names its image by digest: a tag may move."""

WAIT = {"Delay": 2, "MaxAttempts": 900}
"""How boto3 waits for CloudFormation: s between two looks, and how many."""


def session(region: str | None = None) -> Any:
    """A boto3 session with a region; raises DeployError if boto3 or the region is missing."""
    try:
        import boto3
    except ImportError:
        raise DeployError(
            "Deploying needs boto3: install it with `pip install "
            "'text-recognizer-deployment-lab[deploy]'`, or look at the template with --plan."
        ) from None
    with aws_errors():
        found = boto3.Session(region_name=region or os.environ.get("AWS_REGION"))
    if not found.region_name:
        raise DeployError("There is no AWS region: pass --region, or set AWS_REGION.")
    return found


class Stack:
    """The stack of a deployment.

    Args:
        name: of the stack, the function and the image repository.
        aws: a boto3 session.
        say: receives a line for each step.
    """

    def __init__(self, name: str, aws: Any, say: Callable[[str], None] = print) -> None:
        self.name, self.say = name, say
        self._cloudformation, self._ecr = aws.client("cloudformation"), aws.client("ecr")

    def find(self) -> dict[str, Any] | None:
        """What CloudFormation knows of the stack; None if there is none.

        Raises DeployError for a stack of this name that another project made.
        """
        try:
            (stack,) = self._cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        except self._cloudformation.exceptions.ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        if stack["StackStatus"] == "REVIEW_IN_PROGRESS":  # only a change set was ever made
            return None
        if {"Key": "project", "Value": PROJECT_TAG} not in stack.get("Tags", []):
            raise DeployError(
                f"There is a stack {self.name} that this lab did not make: pass another --name."
            )
        return stack

    def outputs(self) -> dict[str, str]:
        """The outputs of the stack, by name; none if there is no stack."""
        found = self.find() or {}
        return {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}

    def propose(self, values: dict[str, str]) -> dict[str, Any] | None:
        """A change set with these parameters, as CloudFormation describes it; None if nothing would
        change.

        Raises DeployError for a stack that can't be changed now.
        """
        found = self.find()
        if found and found["StackStatus"].endswith("_IN_PROGRESS"):
            raise DeployError(
                f"The stack {self.name} is {found['StackStatus']}: run the command again when that "
                "is done."
            )
        tags = {"project": PROJECT_TAG, "deployment": self.name}
        made = self._cloudformation.create_change_set(
            StackName=self.name,
            ChangeSetName=f"lab-{time.time_ns()}",
            ChangeSetType="UPDATE" if found else "CREATE",
            TemplateBody=template_body(),
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in values.items()],
            Capabilities=["CAPABILITY_IAM"],
            Tags=[{"Key": k, "Value": v} for k, v in tags.items()],
            **({} if found else {"OnStackFailure": "DELETE"}),
        )
        self._wait("change_set_create_complete", ChangeSetName=made["Id"])
        change_set = self._cloudformation.describe_change_set(ChangeSetName=made["Id"])
        if change_set["Status"] == "CREATE_COMPLETE":
            return change_set
        reason = one_line(change_set.get("StatusReason", "no reason given"))
        self._cloudformation.delete_change_set(ChangeSetName=made["Id"])
        if "didn't contain changes" in reason or "No updates" in reason:
            return None
        raise DeployError(f"CloudFormation refuses the change set: {reason}.")

    def plan(self, values: dict[str, str]) -> list[str]:
        """What CloudFormation would change, a line for each resource; nothing is kept of it."""
        change_set = self.propose(values)
        if change_set is None:
            return []
        self._cloudformation.delete_change_set(ChangeSetName=change_set["ChangeSetId"])
        if self.find() is None:  # AWS makes an empty stack for the first change set
            self._cloudformation.delete_stack(StackName=self.name)
        return _lines(change_set)

    def update(self, values: dict[str, str]) -> dict[str, str]:
        """Brings the stack to these parameters; returns its outputs."""
        kind = "update" if self.find() else "create"
        change_set = self.propose(values)
        if change_set is None:
            self.say(f"stack {self.name}: nothing to change")
            return self.outputs()
        for line in _lines(change_set):
            self.say(line)
        self._cloudformation.execute_change_set(ChangeSetName=change_set["ChangeSetId"])
        # By its id, AWS knows a stack also when it is deleted.
        self._finish(f"stack_{kind}_complete", change_set["StackId"])
        return self.outputs()

    def resources(self) -> list[str]:
        """Type and name of each resource that the stack has made."""
        found = self._cloudformation.describe_stack_resources(StackName=self.name)
        return [
            f"{one['ResourceType']} {one['PhysicalResourceId']}"
            for one in found["StackResources"]
            if one.get("PhysicalResourceId")  # one that could not be made has none
        ]

    def delete(self) -> None:
        """Deletes the stack with all that it made; returns when it is gone."""
        stack = self.find()["StackId"]
        self._cloudformation.delete_stack(StackName=stack)
        self._finish("stack_delete_complete", stack)
        self.say(f"stack {self.name}: deleted")

    def push(self, repository: str, build: Sequence[str]) -> None:
        """Builds the image and pushes it; layers that the registry has are not sent again."""
        token = self._ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        password = base64.b64decode(token).decode().split(":", 1)[1]
        run(build)
        login, *commands = push_commands(f"{repository}:{IMAGE_TAG}")
        run(login, stdin=password)
        for command in commands:
            self.say(f"image: {' '.join(command)}")
            run(command)

    def image(self, repository: str, image: str) -> str:
        """A pushed image by its digest; `image` is its tag or digest."""
        key = "imageDigest" if image.startswith("sha256:") else "imageTag"
        try:
            found = self._ecr.describe_images(repositoryName=self.name, imageIds=[{key: image}])
        except self._ecr.exceptions.ImageNotFoundException:
            raise DeployError(
                f'The repository {self.name} has no image "{image}": leave --image out to build '
                "and push one."
            ) from None
        return f"{repository}@{found['imageDetails'][0]['imageDigest']}"

    def _wait(self, name: str, **arguments: str) -> bool:
        """Waits as boto3's waiter of that name does; whether it ended well."""
        from botocore.exceptions import WaiterError

        try:
            self._cloudformation.get_waiter(name).wait(**arguments, WaiterConfig=WAIT)
        except WaiterError:
            return False
        return True

    def _finish(self, waiter: str, stack: str) -> None:
        """Waits for a change of the stack; raises DeployError with its first failure."""
        if self._wait(waiter, StackName=stack):
            return
        first = f"The stack {self.name} failed, or takes very long: see its events in the console."
        for event in self._cloudformation.describe_stack_events(StackName=stack)["StackEvents"]:
            reason = one_line(event.get("ResourceStatusReason", "no reason given"))
            if event["ResourceStatus"].endswith("_FAILED"):  # the newest event comes first
                first = f"{event['LogicalResourceId']} failed: {reason}."
            elif reason == "User Initiated":
                break
        if "UnreservedConcurrentExecution" in first:
            first += " Pass `--concurrency 0` to reserve none, or ask AWS for a higher quota."
        raise DeployError(first)


def change_line(action: str, name: str, kind: str) -> str:
    """What happens to a resource: Add, Modify or Remove, its name and its type."""
    return f"{action:7} {name:18} {kind}"


def _lines(change_set: dict[str, Any]) -> list[str]:
    changes = [one["ResourceChange"] for one in change_set.get("Changes", [])]
    return [
        change_line(one["Action"], one["LogicalResourceId"], one["ResourceType"]) for one in changes
    ]


def deploy(
    stack: Stack, values: dict[str, str], image: str | None, build: Sequence[str] | None
) -> str:
    """Makes the stack or changes it, with an image in it; returns the Function URL.

    Args:
        values: the template's parameters.
        image: tag or digest of an image that is in the repository; None to build and push one.
        build: the command that builds the image, without `image`.
    """
    found = stack.find()
    # The image goes into a repository that the stack makes, so a new stack is made in two steps.
    made = stack.outputs() if found else stack.update(values | {"Image": ""})
    if "RepositoryUri" not in made:  # after an interruption, or a failure
        raise DeployError(
            f"The stack {stack.name} is {found['StackStatus']}: run the command again when that is "
            "done; if it failed, remove it with `lab deploy destroy` first."
        )
    repository = made["RepositoryUri"]
    if build:
        stack.push(repository, build)
    return stack.update(values | {"Image": stack.image(repository, image or IMAGE_TAG)})["Url"]
