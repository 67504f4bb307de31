"""What deploying to AWS would do: every call and command, and the bill. Nothing is called."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import indent

from lab_utils.deploy.aws import Call, region_or_none
from lab_utils.deploy.costs import PRICES, cost_table
from lab_utils.deploy.image import Build, build_command, login_command, push_commands
from lab_utils.deploy.parts import after_image, before_image
from lab_utils.deploy.resource import Target
from lab_utils.deploy.settings import LambdaSettings

PAGES = (10, 1_000, 100_000)
"""Pages a month that a plan shows the costs of."""

IMAGE_TAG = "latest"
"""The tag of pushed images; the function names its image by digest all the same."""


@dataclass(frozen=True)
class Step:
    """One thing that is made, with the calls of AWS and the commands in their order."""

    title: str
    actions: list[Call | list[str]]

    @property
    def calls(self) -> list[Call]:
        return [action for action in self.actions if isinstance(action, Call)]

    def __str__(self) -> str:
        texts = [f"$ {shlex.join(a)}" if isinstance(a, list) else str(a) for a in self.actions]
        return "\n".join([self.title, *(indent(text, "   ") for text in texts)])


@dataclass(frozen=True)
class Plan:
    """All steps of a deployment into an account that has none of it yet."""

    target: Target
    steps: list[Step]

    @property
    def calls(self) -> list[Call]:
        """The calls of AWS, in their order."""
        return [call for step in self.steps for call in step.calls]

    def __str__(self) -> str:
        settings, target = self.target.settings, self.target
        numbered = [f"{number}. {step}" for number, step in enumerate(self.steps, 1)]
        return "\n".join(
            [
                f"{settings.name} on AWS Lambda, region {target.region}: nothing is called yet.",
                "",
                *numbered,
                "",
                *_who_may_call(settings),
                "",
                cost_table(PAGES, settings.memory),
                most_a_day(settings),
            ]
        )


def plan(
    settings: LambdaSettings | None = None,
    region: str | None = None,
    build: Build | None = None,
    tool: str = "docker",
    image: str | None = None,
) -> Plan:
    """What `apply` does in an account where nothing is there yet.

    Args:
        region: else the environment's, else the word REGION.
        build: how the image is built.
        tool: docker or buildah.
        image: tag or digest of an image that is in the repository; None to build one.
    """
    target = Target(settings or LambdaSettings(), region=region_or_none(region) or "REGION")
    steps = [Step("account", [Call("sts", "GetCallerIdentity")])]
    steps += [Step(f"{r.kind} {r.name}", [*r.create()]) for r in before_image(target)]
    steps.append(Step("image", list(_image_actions(target, build or Build(), tool, image))))
    steps += [Step(f"{r.kind} {r.name}", [*r.create()]) for r in after_image(target)]
    find_url = Call("lambda", "GetFunctionUrlConfig", {"FunctionName": target.settings.name})
    return Plan(target, [*steps, Step("address", [find_url])])


def image_id(image: str) -> dict[str, str]:
    """A tag or a digest as ECR takes it."""
    return {"imageDigest" if image.startswith("sha256:") else "imageTag": image}


def find_image(target: Target, image: str) -> Call:
    """The call that tells an image's digest."""
    return Call(
        "ecr",
        "DescribeImages",
        {"repositoryName": target.settings.name, "imageIds": [image_id(image)]},
    )


def most_a_day(settings: LambdaSettings) -> str:
    """The bill of a day on which somebody keeps all copies busy, as a sentence."""
    if not settings.concurrency:
        return "No concurrency is reserved: the account's quota alone limits what a day can cost."
    seconds = settings.concurrency * 24 * 3600
    most = seconds * settings.memory / 1024 * PRICES.gb_second
    return (
        f"Busy all day with {settings.concurrency} requests at a time, it costs at most "
        f"{most:.2f} a day, without transfer and logs."
    )


def _image_actions(
    target: Target, build: Build, tool: str, image: str | None
) -> Iterator[Call | list[str]]:
    if image is None:
        yield build_command(tool, build)
        yield Call("ecr", "GetAuthorizationToken")
        yield login_command(tool, target.repository.split("/")[0])
        yield from push_commands(tool, build.tag, f"{target.repository}:{IMAGE_TAG}")
    yield find_image(target, image or IMAGE_TAG)


def _who_may_call(settings: LambdaSettings) -> Sequence[str]:
    if settings.auth == "NONE":
        return [
            "Everybody who knows the URL may call it and spends your money: have the front end",
            "ask for a password, and keep the reserved concurrency low.",
        ]
    return [
        "Calls must be signed (SigV4) by an identity of the account that may call",
        "lambda:InvokeFunctionUrl and lambda:InvokeFunction on the function.",
    ]
