"""The CloudFormation stack of `deploy/template.yaml`: proposed, made, changed and deleted.

CloudFormation does the work: it knows what is missing, undoes what failed, and goes on when this
process ends. boto3's standard variables hold: AWS_PROFILE, AWS_REGION, and AWS_ENDPOINT_URL for a
server that takes AWS's place.
"""

import base64
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from lab_utils.deploy.errors import DeployError, explained, failed_resource
from lab_utils.deploy.image import Build, push_commands, run
from lab_utils.deploy.template import template_body

PROJECT_TAG = "text-recognizer-deployment-lab"
IMAGE_TAG = "latest"
"""The tag of pushed images. The function names its image by digest: a tag may move."""

WAIT = {"Delay": 2, "MaxAttempts": 900}
"""How boto3 waits for CloudFormation: s between two looks, and how many."""


class Proposal(NamedTuple):
    """A change set that waits to be executed."""

    id: str
    stack: str
    """The stack's id, by which AWS knows it also when it is deleted."""
    kind: str
    """CREATE or UPDATE."""
    changes: list[str]
    """A line for each resource."""


def session(region: str | None = None) -> Any:
    """A boto3 session with a region; raises DeployError if boto3 or the region is missing."""
    try:
        import boto3
    except ImportError:
        raise DeployError(
            "Deploying needs boto3: install it with `pip install "
            "'text-recognizer-deployment-lab[deploy]'`, or look at the template with --plan."
        ) from None
    with explained("the settings"):
        found = boto3.Session(region_name=region or os.environ.get("AWS_REGION"))
    if not found.region_name:
        raise DeployError("There is no AWS region: pass --region, or set AWS_REGION.")
    return found


def can_ask(region: str | None = None) -> bool:
    """Whether boto3, a region and credentials are there, so that AWS can be asked."""
    try:
        found = session(region)
    except DeployError:
        return False
    with explained("the settings"):
        return found.get_credentials() is not None


class Stack:
    """The stack of a deployment.

    Args:
        name: of the stack, the function and the image repository.
        aws: a boto3 session.
        say: receives a line for each step.
    """

    def __init__(self, name: str, aws: Any, say: Callable[[str], None] = print) -> None:
        self.name, self.say = name, say
        self._clients = {service: aws.client(service) for service in ("cloudformation", "ecr")}

    def find(self) -> dict[str, Any] | None:
        """What CloudFormation knows of the stack; None if there is none.

        Raises DeployError for a stack of this name that another project made.
        """
        try:
            found = self._cloudformation("DescribeStacks", StackName=self.name)
        except DeployError as error:
            if "does not exist" in str(error):
                return None
            raise
        (stack,) = found["Stacks"]
        if stack["StackStatus"] == "REVIEW_IN_PROGRESS":  # only a change set was ever made
            return None
        tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}
        if tags.get("project") != PROJECT_TAG:
            raise DeployError(
                f"There is a stack {self.name} that this lab did not make: pass another --name."
            )
        return stack

    def propose(self, values: dict[str, str]) -> Proposal | None:
        """A change set with these parameters, or None if nothing would change.

        Raises DeployError for a stack that can't be changed now.
        """
        found = self.find()
        if found and found["StackStatus"].endswith("_IN_PROGRESS"):
            raise DeployError(
                f"The stack {self.name} is {found['StackStatus']}: run the command again when that "
                "is done."
            )
        kind = "UPDATE" if found else "CREATE"
        parameters = [{"ParameterKey": k, "ParameterValue": v} for k, v in values.items()]
        tags = {"project": PROJECT_TAG, "deployment": self.name}
        made = self._cloudformation(
            "CreateChangeSet",
            StackName=self.name,
            ChangeSetName=f"lab-{time.time_ns()}",
            ChangeSetType=kind,
            TemplateBody=template_body(),
            Parameters=parameters,
            Capabilities=["CAPABILITY_IAM"],
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            # A stack that could not be made leaves nothing, so the next attempt starts afresh.
            **({} if found else {"OnStackFailure": "DELETE"}),
        )
        self._wait("change_set_create_complete", ChangeSetName=made["Id"])
        change_set = self._cloudformation("DescribeChangeSet", ChangeSetName=made["Id"])
        if change_set["Status"] == "CREATE_COMPLETE":
            changes = [one["ResourceChange"] for one in change_set.get("Changes", [])]
            lines = [
                change_line(one["Action"], one["LogicalResourceId"], one["ResourceType"])
                for one in changes
            ]
            return Proposal(made["Id"], made["StackId"], kind, lines)
        reason = change_set.get("StatusReason", "no reason given").rstrip(".")
        self._cloudformation("DeleteChangeSet", ChangeSetName=made["Id"])
        if "didn't contain changes" in reason or "No updates" in reason:
            return None
        raise DeployError(f"CloudFormation refuses the change set: {reason}.")

    def withdraw(self, proposal: Proposal) -> None:
        """Removes a change set, and the empty stack that AWS makes for the first one."""
        self._cloudformation("DeleteChangeSet", ChangeSetName=proposal.id)
        if proposal.kind == "CREATE":
            self._cloudformation("DeleteStack", StackName=self.name)

    def update(self, values: dict[str, str]) -> dict[str, str]:
        """Brings the stack to these parameters; returns its outputs."""
        proposal = self.propose(values)
        if proposal is None:
            self.say(f"stack {self.name}: nothing to change")
            return outputs(self.find())
        for change in proposal.changes:
            self.say(change)
        self._cloudformation("ExecuteChangeSet", ChangeSetName=proposal.id)
        done = f"stack_{proposal.kind.lower()}_complete"
        if not self._wait(done, StackName=proposal.stack):
            raise DeployError(self._why_it_failed(proposal.stack))
        return outputs(self.find())

    def resources(self) -> list[str]:
        """Type and name of each resource that the stack has made."""
        found = self._cloudformation("DescribeStackResources", StackName=self.name)
        return [
            f"{one['ResourceType']} {one['PhysicalResourceId']}"
            for one in found["StackResources"]
            if one.get("PhysicalResourceId")  # one that could not be made has none
        ]

    def delete(self) -> None:
        """Deletes the stack with all that it made; returns when it is gone."""
        id = self.find()["StackId"]
        self._cloudformation("DeleteStack", StackName=id)
        if not self._wait("stack_delete_complete", StackName=id):
            raise DeployError(self._why_it_failed(id))
        self.say(f"stack {self.name}: deleted")

    def push(self, repository: str, build: Build) -> None:
        """Builds the image and pushes it; layers that the registry has are not sent again."""
        token = self._call("ecr", "GetAuthorizationToken")["authorizationData"][0]
        password = base64.b64decode(token["authorizationToken"]).decode().split(":", 1)[1]
        run(build.command())
        login, *commands = push_commands(build.tag, f"{repository}:{IMAGE_TAG}")
        run(login, stdin=password)
        for command in commands:
            self.say(f"image: {' '.join(command)}")
            run(command)

    def image(self, repository: str, image: str) -> str:
        """A pushed image by its digest; `image` is its tag or digest."""
        key = "imageDigest" if image.startswith("sha256:") else "imageTag"
        arguments = {"repositoryName": self.name, "imageIds": [{key: image}]}
        try:
            found = self._call("ecr", "DescribeImages", **arguments)
        except DeployError as error:
            if "NotFound" not in str(error):
                raise
            raise DeployError(
                f'The repository {self.name} has no image "{image}": leave --image out to build '
                "and push one."
            ) from None
        return f"{repository}@{found['imageDetails'][0]['imageDigest']}"

    def _call(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        from botocore import xform_name

        with explained(f"{service}:{operation}"):
            return getattr(self._clients[service], xform_name(operation))(**arguments)

    def _cloudformation(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return self._call("cloudformation", operation, **arguments)

    def _wait(self, name: str, **arguments: str) -> bool:
        """Waits as boto3's waiter of that name does; whether it ended well."""
        from botocore.exceptions import WaiterError

        with explained(f"cloudformation:{name}"):
            waiter = self._clients["cloudformation"].get_waiter(name)
            try:
                waiter.wait(**arguments, WaiterConfig=WAIT)
            except WaiterError:
                return False
        return True

    def _why_it_failed(self, stack: str) -> str:
        """The first failure since a change of the stack was asked for."""
        events = self._cloudformation("DescribeStackEvents", StackName=stack)["StackEvents"]
        first = f"The stack {self.name} failed, or takes very long: see its events in the console."
        for event in events:  # the newest comes first
            reason = event.get("ResourceStatusReason", "no reason given")
            if event["ResourceStatus"].endswith("_FAILED"):
                first = failed_resource(event["LogicalResourceId"], reason)
            elif reason == "User Initiated":
                break
        return first


def change_line(action: str, name: str, kind: str) -> str:
    """What happens to a resource: Add, Modify or Remove, its name and its type."""
    return f"{action:7} {name:18} {kind}"


def outputs(stack: dict[str, Any]) -> dict[str, str]:
    """The outputs of a stack, by name."""
    return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}


def deploy(stack: Stack, values: dict[str, str], image: str | None, build: Build | None) -> str:
    """Makes the stack or changes it, with an image in it; returns the Function URL.

    Args:
        values: the template's parameters.
        image: tag or digest of an image that is in the repository; None to build and push one.
        build: how the image is built, without `image`.
    """
    found = stack.find()
    # The image goes into a repository that the stack makes, so a new stack is made in two steps.
    made = outputs(found) if found else stack.update(values | {"Image": ""})
    if "RepositoryUri" not in made:  # after an interruption, or a failure
        raise DeployError(
            f"The stack {stack.name} is {found['StackStatus']}: run the command again when that is "
            "done; if it failed, remove it with `lab deploy destroy` first."
        )
    repository = made["RepositoryUri"]
    if build:
        stack.push(repository, build)
    return stack.update(values | {"Image": stack.image(repository, image or IMAGE_TAG)})["Url"]
