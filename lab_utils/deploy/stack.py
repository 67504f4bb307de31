"""The CloudFormation stack of `deploy/template.yaml`: proposed, made, changed and deleted.

CloudFormation does the work: it knows what is missing, undoes what failed, and goes on when this
process ends. boto3's standard variables hold: AWS_PROFILE, AWS_REGION, and AWS_ENDPOINT_URL for a
server that stands in for AWS.
"""

import base64
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from lab_utils.deploy.errors import DeployError, explained, failed_resource
from lab_utils.deploy.image import Build, build_command, login_command, push_commands, run
from lab_utils.deploy.template import template_body

PROJECT_TAG = "text-recognizer-deployment-lab"
IMAGE_TAG = "latest"
"""The tag of pushed images. The function names its image by digest: a tag may move."""

_POLL_SECONDS = 2
_MOST_POLLS = 900

Say = Callable[[str], None]


class Change(NamedTuple):
    """What happens to one resource."""

    action: str
    """Add, Modify, Remove, Import or Dynamic."""
    name: str
    """In the template."""
    kind: str
    """Such as AWS::Lambda::Function."""

    def __str__(self) -> str:
        return f"{self.action:7} {self.name:18} {self.kind}"


class Proposal(NamedTuple):
    """A change set that waits to be executed."""

    id: str
    changes: list[Change]
    is_new: bool
    """Whether it makes the stack."""


def session(region: str | None = None) -> Any:
    """A boto3 session with a region; raises DeployError where boto3 or the region is missing."""
    try:
        import boto3
    except ImportError:
        raise DeployError(
            "Deploying needs boto3: install it with `pip install "
            "'text-recognizer-deployment-lab[deploy]'`, or look at the template with --plan."
        ) from None
    with explained("the settings"):
        region = region or os.environ.get("AWS_REGION")
        found = boto3.Session(region_name=region)
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

    def __init__(self, name: str, aws: Any, say: Say = print) -> None:
        self.name = name
        self._id = name
        self._say = say
        self._clients = {service: aws.client(service) for service in ("cloudformation", "ecr")}

    def propose(self, values: dict[str, str]) -> Proposal | None:
        """A change set with these parameters, or None where nothing would change."""
        found = self.settled()
        is_new = found is None
        made = self._call(
            "cloudformation",
            "CreateChangeSet",
            StackName=self.name,
            ChangeSetName=f"lab-{time.time_ns()}",
            ChangeSetType="CREATE" if is_new else "UPDATE",
            TemplateBody=template_body(),
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in values.items()
            ],
            Capabilities=["CAPABILITY_IAM"],
            Tags=[
                {"Key": "project", "Value": PROJECT_TAG},
                {"Key": "deployment", "Value": self.name},
            ],
            # A stack that could not be made leaves nothing, so the next attempt starts afresh.
            **({"OnStackFailure": "DELETE"} if is_new else {}),
        )
        self._id = made["StackId"]
        return self._proposed(made["Id"], is_new)

    def _proposed(self, id: str, is_new: bool) -> Proposal | None:
        for _ in self._polls():
            found = self._call("cloudformation", "DescribeChangeSet", ChangeSetName=id)
            if found["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
                break
        if found["Status"] == "CREATE_COMPLETE":
            changes = [one["ResourceChange"] for one in found.get("Changes", [])]
            return Proposal(
                id,
                [Change(c["Action"], c["LogicalResourceId"], c["ResourceType"]) for c in changes],
                is_new,
            )
        reason = found.get("StatusReason", "no reason given").rstrip(".")
        self._call("cloudformation", "DeleteChangeSet", ChangeSetName=id)
        if "didn't contain changes" in reason or "No updates" in reason:
            return None
        raise DeployError(f"CloudFormation refuses the change set: {reason}.")

    def withdraw(self, proposal: Proposal) -> None:
        """Removes a change set, and the empty stack that AWS makes for the first one."""
        self._call("cloudformation", "DeleteChangeSet", ChangeSetName=proposal.id)
        if proposal.is_new:
            self._call("cloudformation", "DeleteStack", StackName=self.name)

    def update(self, values: dict[str, str]) -> dict[str, str]:
        """Brings the stack to these parameters; returns its outputs."""
        proposal = self.propose(values)
        if proposal is None:
            self._say(f"stack {self.name}: nothing to change")
        else:
            for change in proposal.changes:
                self._say(str(change))
            self._call("cloudformation", "ExecuteChangeSet", ChangeSetName=proposal.id)
        found = self.settled(has_begun=proposal is not None)
        if found is None or found["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            raise DeployError(self._why_it_failed())
        return outputs(found)

    def settled(self, has_begun: bool = False) -> dict[str, Any] | None:
        """The stack once nothing is under way in it; None where there is none.

        Args:
            has_begun: whether a change set was executed, so that a stack in review is under way.

        Raises DeployError for a stack of this name that another project made, and for one that
        can only be deleted.
        """
        told = ""
        for _ in self._polls():
            found = self.find()
            status = found["StackStatus"] if found else ""
            if not found or (status == "REVIEW_IN_PROGRESS" and not has_begun):
                return None
            if not status.endswith("_IN_PROGRESS"):
                break
            if status != told:
                self._say(f"stack {self.name}: {status}")
                told = status
        if status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"):
            raise DeployError(
                f"The stack {self.name} is {status}: remove it with `lab deploy destroy`."
            )
        return found

    def find(self) -> dict[str, Any] | None:
        """What CloudFormation knows of the stack; None where there is none."""
        try:
            found = self._call("cloudformation", "DescribeStacks", StackName=self.name)
        except DeployError as error:
            if "does not exist" in str(error):
                return None
            raise
        (stack,) = found["Stacks"]
        tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}
        if stack["StackStatus"] != "REVIEW_IN_PROGRESS" and tags.get("project") != PROJECT_TAG:
            raise DeployError(
                f"There is a stack {self.name} that this lab did not make: pass another --name."
            )
        return stack

    def resources(self) -> list[str]:
        """Type and name of each resource that the stack has made."""
        found = self._call("cloudformation", "DescribeStackResources", StackName=self.name)
        return [
            f"{one['ResourceType']} {one['PhysicalResourceId']}"
            for one in found["StackResources"]
            if one.get("PhysicalResourceId")  # one that could not be made has none
        ]

    def delete(self) -> None:
        """Deletes the stack with all that it made; returns when it is gone."""
        self._call("cloudformation", "DeleteStack", StackName=self.name)
        for _ in self._polls():
            found = self.find()
            if found is None:
                self._say(f"stack {self.name}: deleted")
                return
            if found["StackStatus"] == "DELETE_FAILED":
                raise DeployError(self._why_it_failed())

    def push(self, repository: str, tool: str, build: Build) -> None:
        """Builds the image and pushes it; layers that the registry has are not sent again."""
        token = self._call("ecr", "GetAuthorizationToken")["authorizationData"][0]
        password = base64.b64decode(token["authorizationToken"]).decode().split(":", 1)[1]
        run(build_command(tool, build))
        run(login_command(tool, repository.split("/")[0]), password=password)
        for command in push_commands(tool, build.tag, f"{repository}:{IMAGE_TAG}"):
            self._say(f"image: {' '.join(command)}")
            run(command)

    def image(self, repository: str, image: str) -> str:
        """A pushed image by its digest; `image` is its tag or digest."""
        key = "imageDigest" if image.startswith("sha256:") else "imageTag"
        try:
            found = self._call(
                "ecr", "DescribeImages", repositoryName=self.name, imageIds=[{key: image}]
            )
        except DeployError as error:
            if "NotFound" not in str(error):
                raise
            raise DeployError(
                f'The repository {self.name} has no image "{image}": leave --image out to build '
                "and push one."
            ) from None
        return f"{repository}@{found['imageDetails'][0]['imageDigest']}"

    def planned_image(self, image: str | None) -> str:
        """What a plan says of the image, which may not be there yet."""
        uri = outputs(self.find() or {}).get("RepositoryUri", self.name)
        if image is None:
            return f"{uri}:{IMAGE_TAG}"
        return f"{uri}{'@' if image.startswith('sha256:') else ':'}{image}"

    def _call(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        from botocore import xform_name

        with explained(f"{service}:{operation}"):
            return getattr(self._clients[service], xform_name(operation))(**arguments)

    def _polls(self) -> Iterator[int]:
        """Turns of a loop that waits for AWS; raises DeployError after the last one."""
        for turn in range(_MOST_POLLS):
            yield turn
            time.sleep(_POLL_SECONDS)
        raise DeployError(
            f"CloudFormation still works on the stack {self.name}: run the command again to go on "
            "waiting."
        )

    def _why_it_failed(self) -> str:
        """The first failure since a change of the stack was asked for."""
        # By its id: also a stack that has been deleted since has its events.
        arguments = {"StackName": self._id}
        events = self._call("cloudformation", "DescribeStackEvents", **arguments)["StackEvents"]
        first = f"The stack {self.name} failed: see its events in the CloudFormation console."
        for event in events:  # the newest comes first
            reason = event.get("ResourceStatusReason", "no reason given")
            reason = " ".join(reason.split()).rstrip(".")
            if event["ResourceStatus"].endswith("_FAILED"):
                first = failed_resource(event["LogicalResourceId"], reason)
            elif reason == "User Initiated":
                break
        return first


def outputs(stack: dict[str, Any]) -> dict[str, str]:
    """The outputs of a stack, by name."""
    return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}


def deploy(
    stack: Stack,
    values: dict[str, str],
    image: str | None = None,
    tool: str = "docker",
    build: Build | None = None,
) -> str:
    """Makes the stack or changes it, with an image in it; returns the Function URL.

    Args:
        values: the template's parameters.
        image: tag or digest of an image that is in the repository; None to build and push one.
        tool: docker or buildah.
        build: how the image is built.
    """
    found = stack.settled()
    # The image goes into a repository that the stack makes, so a new stack is made in two steps.
    repository = (outputs(found) if found else stack.update(values | {"Image": ""}))[
        "RepositoryUri"
    ]
    if image is None:
        stack.push(repository, tool, build or Build())
    made = stack.update(values | {"Image": stack.image(repository, image or IMAGE_TAG)})
    return made["Url"]
