"""What deploying to AWS would do, as text: the commands, the changes, and the month's bill."""

import shlex

from lab_utils.deploy.costs import ASSUMED, cost_table
from lab_utils.deploy.image import Build, push_commands
from lab_utils.deploy.stack import IMAGE_TAG

PAGES = (10, 1_000, 100_000)
"""Pages a month for which a plan shows the costs."""


def plan_text(
    values: dict[str, str], changes: list[str], where: str, build: Build | None = None
) -> str:
    """The plan of `lab deploy lambda`.

    Args:
        values: the template's parameters.
        changes: what CloudFormation would do, a line for each resource.
        where: where the changes come from, a sentence.
        build: how the image is built; None if an image is given.
    """
    remote = f"ACCOUNT.dkr.ecr.REGION.amazonaws.com/{values['Name']}:{IMAGE_TAG}"
    commands = [build.command(), *push_commands(build.tag, remote)] if build else []
    settings = [f"{name} {value}" for name, value in values.items() if value]
    blocks = [
        [
            f"The stack {values['Name']} of deploy/template.yaml. {where}",
            f"Settings: {', '.join(settings)}",
        ],
        changes or ["No resource changes."],
        [f"$ {shlex.join(command)}" for command in commands],
        [_who_may_call(values)],
        [cost_table(PAGES, int(values["Memory"])), _most_a_day(values)],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _who_may_call(values: dict[str, str]) -> str:
    if values["AuthType"] == "NONE":
        return (
            "Everybody who knows the URL may call it and spends your money: have the front end\n"
            "ask for a password, and keep the reserved concurrency low."
        )
    return (
        "Calls must be signed (SigV4) by an identity of the account that may call\n"
        "lambda:InvokeFunctionUrl and lambda:InvokeFunction on the function."
    )


def _most_a_day(values: dict[str, str]) -> str:
    copies = int(values["Concurrency"])
    if not copies:
        return "No concurrency is reserved: only the account's quota limits what a day can cost."
    most = copies * 24 * 3600 * int(values["Memory"]) / 1024 * ASSUMED.gb_second
    return (
        f"Busy all day with {copies} requests at a time, it costs at most {most:.2f} a day, "
        "without transfer and logs."
    )
