"""`lab deploy`: the model service on AWS."""

from pathlib import Path
from typing import Annotated

import typer

from lab_utils.commands.options import group, say
from lab_utils.deploy.errors import aws_errors

app = group("Deploy the model service to AWS, show what that does and costs, or remove it.")

Name = Annotated[str, typer.Option(help="Of the function; all other names begin with it.")]
Region = Annotated[str | None, typer.Option(help="AWS region; else AWS_REGION's or the profile's.")]
Model = Annotated[
    Path | None,
    typer.Option(help="TorchScript file below the project; else what `lab compile` made."),
]


@app.command("lambda")
def aws_lambda(
    plan: Annotated[
        bool, typer.Option("--plan/--apply", help="Show what would be done, or do it.")
    ] = True,
    name: Name = "text-recognizer",
    region: Region = None,
    memory: Annotated[
        int | None, typer.Option(help="MB of the function; 1769 buy a core (3008).")
    ] = None,
    timeout: Annotated[int | None, typer.Option(help="Seconds for a request (30).")] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(help="Requests at a time, which limits the bill (5). 0 reserves none."),
    ] = None,
    auth: Annotated[
        str | None,
        typer.Option(help="AWS_IAM (default): only signed calls; NONE: anybody with the URL."),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(help="Origin whose pages may call it from a browser; may be repeated."),
    ] = None,
    retention: Annotated[int | None, typer.Option(help="Days that logs are kept (14).")] = None,
    alarm_topic: Annotated[
        str | None, typer.Option(help="ARN of an SNS topic that alarms are sent to.")
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(help="Tag or digest of a pushed image to run, instead of building one."),
    ] = None,
    model: Model = None,
) -> None:
    """Deploy the model service as a function with a URL: the stack of deploy/template.yaml.

    The plan shows CloudFormation's change set and the month's cost; without credentials, the
    template's resources. --apply executes it. Both can be run again after an interruption.

    Example: lab deploy lambda --plan --region eu-central-1
    """
    from lab_utils.deploy.image import build_command, check_build
    from lab_utils.deploy.plan import plan as plan_text
    from lab_utils.deploy.stack import Stack, deploy, session
    from lab_utils.deploy.template import parameters

    values = parameters(
        Name=name,
        Memory=memory,
        RequestSeconds=timeout,
        Concurrency=concurrency,
        AuthType=auth and auth.upper(),
        Origins=origin or None,
        LogDays=retention,
        AlarmTopic=alarm_topic,
    )
    build = None if image else build_command(model)
    if plan:
        print(plan_text(values, region, image, build))
        return
    aws = session(region)
    if build:
        check_build(model)
    with aws_errors():
        print(deploy(Stack(name, aws, say=say), values, image, build))


@app.command()
def destroy(
    name: Name = "text-recognizer",
    region: Region = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """List what `lab deploy lambda` made, and delete it, the repository's images included.

    Example: lab deploy destroy --region eu-central-1
    """
    from lab_utils.deploy.stack import Stack, session

    aws = session(region)
    with aws_errors():
        stack = Stack(name, aws, say=say)
        if stack.find() is None:
            say(f"There is no stack {name} in {aws.region_name}.")
            return
        print(*stack.resources(), sep="\n")
        if not yes and not typer.confirm("Delete these?", err=True):
            raise typer.Exit(1)
        stack.delete()
