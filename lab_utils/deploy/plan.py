"""What deploying to AWS would do, as text: the changes, the commands, and the month's bill."""

import shlex
from collections.abc import Sequence

from lab_tracker.wording import counted
from lab_utils.deploy.costs import ASSUMED, cost_table
from lab_utils.deploy.errors import DeployError, aws_errors
from lab_utils.deploy.image import push_commands
from lab_utils.deploy.stack import IMAGE_TAG, Stack, change_line, session
from lab_utils.deploy.template import resources

PAGES = (10, 1_000, 100_000)
"""Pages a month for which a plan shows the costs."""


def plan(
    values: dict[str, str], region: str | None, image: str | None, build: Sequence[str] | None
) -> str:
    """The plan of `lab deploy lambda`: CloudFormation's change set, if AWS can be asked for it, or
    the template's resources.

    Args:
        values: the template's parameters.
        region: AWS region; None for the environment's.
        image: tag or digest of an image that is in the repository; None to build and push one.
        build: the command that builds the image, without `image`.
    """
    try:
        aws = session(region)
        with aws_errors():
            can_ask = aws.get_credentials() is not None
    except DeployError:
        can_ask = False
    if can_ask:
        with aws_errors():
            stack = Stack(values["Name"], aws)
            repository = stack.outputs().get("RepositoryUri", values["Name"])
            tag = f"@{image}" if image and image.startswith("sha256:") else f":{image or IMAGE_TAG}"
            changes = stack.plan(values | {"Image": repository + tag})
        where = f"Region {aws.region_name}; changes as CloudFormation sees them; nothing is done."
    else:
        changes = [change_line("Add", *one) for one in resources(values).items()]
        where = "AWS was not asked: there are no credentials, no region, or no boto3."
    remote = f"ACCOUNT.dkr.ecr.REGION.amazonaws.com/{values['Name']}:{IMAGE_TAG}"
    commands = [build, *push_commands(remote)] if build else []
    settings = ", ".join(f"{name} {value}" for name, value in values.items() if value)
    blocks = [
        f"The stack {values['Name']} of deploy/template.yaml. {where}\nSettings: {settings}",
        "\n".join(changes) or "No resource changes.",
        "\n".join(f"$ {shlex.join(command)}" for command in commands),
        _warnings(values),
        cost_table(PAGES, int(values["Memory"])),
    ]
    return "\n\n".join(filter(None, blocks))


def _warnings(values: dict[str, str]) -> str:
    """Who may call the function, and what that can cost."""
    callers = (
        "Calls must be signed (SigV4) by an identity of the account that may call the function."
    )
    if values["AuthType"] == "NONE":
        callers = "Everybody who knows the URL may call it and spends your money."
    copies = int(values["Concurrency"])
    most = copies * 24 * 3600 * int(values["Memory"]) / 1024 * ASSUMED.gb_second
    limit = (
        f"Busy all day with {counted(copies, 'request')} at a time, it costs at most {most:.2f} a "
        "day, without transfer and logs."
    )
    if not copies:
        limit = "No concurrency is reserved: only the account's quota limits what a day can cost."
    return f"{callers}\n{limit}"
