"""What deploying to AWS would do, as text: the commands, the changes, and the month's bill."""

import shlex

from lab_utils.deploy.costs import PRICES, cost_table
from lab_utils.deploy.image import Build, build_command, login_command, push_commands
from lab_utils.deploy.stack import IMAGE_TAG, Change
from lab_utils.deploy.template import resources

PAGES = (10, 1_000, 100_000)
"""Pages a month for which a plan shows the costs."""


def changes_of_template(values: dict[str, str]) -> list[Change]:
    """The changes to an account that has none of the resources, found without asking AWS."""
    made = resources(values | {"Image": values["Image"] or "the image"})
    return [Change("Add", name, kind) for name, kind in made.items()]


def plan_text(
    values: dict[str, str],
    changes: list[Change],
    where: str,
    build: Build | None = None,
    tool: str = "docker",
) -> str:
    """The plan of `lab deploy lambda`.

    Args:
        values: the template's parameters.
        changes: what CloudFormation would do.
        where: where the changes come from, a sentence.
        build: how the image is built; None where an image is given.
        tool: docker or buildah.
    """
    repository = f"ACCOUNT.dkr.ecr.REGION.amazonaws.com/{values['Name']}"
    commands = []
    if build:
        commands = [
            build_command(tool, build),
            login_command(tool, repository.split("/")[0]),
            *push_commands(tool, build.tag, f"{repository}:{IMAGE_TAG}"),
        ]
    settings = [f"{name} {value}" for name, value in values.items() if value]
    return "\n".join(
        [
            f"The stack {values['Name']} of deploy/template.yaml. {where}",
            f"Settings: {', '.join(settings)}",
            "",
            *map(str, changes or ["No resource changes."]),
            "",
            *(f"$ {shlex.join(command)}" for command in commands),
            *([""] if commands else []),
            who_may_call(values),
            "",
            cost_table(PAGES, int(values["Memory"])),
            most_a_day(values),
        ]
    )


def who_may_call(values: dict[str, str]) -> str:
    """Who can call the Function URL, and at whose expense."""
    if values["AuthType"] == "NONE":
        return (
            "Everybody who knows the URL may call it and spends your money: have the front end\n"
            "ask for a password, and keep the reserved concurrency low."
        )
    return (
        "Calls must be signed (SigV4) by an identity of the account that may call\n"
        "lambda:InvokeFunctionUrl and lambda:InvokeFunction on the function."
    )


def most_a_day(values: dict[str, str]) -> str:
    """What a day costs if somebody keeps all copies busy, as a sentence."""
    copies = int(values["Concurrency"])
    if not copies:
        return "No concurrency is reserved: only the account's quota limits what a day can cost."
    most = copies * 24 * 3600 * int(values["Memory"]) / 1024 * PRICES.gb_second
    return (
        f"Busy all day with {copies} requests at a time, it costs at most {most:.2f} a day, "
        "without transfer and logs."
    )
