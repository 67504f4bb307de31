"""`lab deploy`: the model service on AWS, what it would cost, and its images."""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="deploy",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Deploy the model service to AWS, show what that does and costs, remove it.",
)

Name = Annotated[str, typer.Option(help="Of the function; all other names begin with it.")]
Region = Annotated[str | None, typer.Option(help="AWS region; else AWS_REGION's or the profile's.")]
Memory = Annotated[int | None, typer.Option(help="MB of the function; 1769 buy a core (3008).")]
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
    memory: Memory = None,
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
    from lab_utils.deploy.image import Build, model_below_project
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
    build = None if image else Build(model=model_below_project(model))
    if plan:
        _show_plan(values, region, image, build)
        return
    stack = Stack(name, session(region), say=_progress)
    if build:
        build.check()
    try:
        print(deploy(stack, values, image, build))
    except KeyboardInterrupt:
        _progress("CloudFormation finishes its step; then the same command continues.")
        raise


def _show_plan(values: dict[str, str], region: str | None, image: str | None, build) -> None:
    """Prints the plan, with the change set if AWS can be asked."""
    from lab_utils.deploy.plan import plan_text
    from lab_utils.deploy.stack import IMAGE_TAG, Stack, can_ask, change_line, outputs, session
    from lab_utils.deploy.template import resources

    if not can_ask(region):
        where = "AWS was not asked: there are no credentials, no region, or no boto3."
        made = resources(values | {"Image": "the image"})
        changes = [change_line("Add", name, kind) for name, kind in made.items()]
        print(plan_text(values, changes, where, build))
        return
    aws = session(region)
    where = f"Region {aws.region_name}; changes as CloudFormation sees them, nothing is executed."
    stack = Stack(values["Name"], aws, say=_progress)
    repository = outputs(stack.find() or {}).get("RepositoryUri", values["Name"])
    tag = image or IMAGE_TAG
    separator = "@" if tag.startswith("sha256:") else ":"
    proposal = stack.propose(values | {"Image": f"{repository}{separator}{tag}"})
    print(plan_text(values, proposal.changes if proposal else [], where, build))
    if proposal:
        stack.withdraw(proposal)


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
    stack = Stack(name, aws, say=_progress)
    if stack.find() is None:
        _progress(f"There is no stack {name} in {aws.region_name}.")
        return
    for resource in stack.resources():
        print(resource)
    if not yes and not typer.confirm("Delete these?", err=True):
        raise typer.Exit(1)
    stack.delete()


@app.command()
def image(
    tag: Annotated[str, typer.Option(help="Name of the image.")] = "text-recognizer:latest",
    app_image: Annotated[
        bool, typer.Option("--app", help="The front end instead of the model service.")
    ] = False,
    model: Model = None,
) -> None:
    """Build the image of the model service, or of the front end, with docker.

    PIP_EXTRA_INDEX_URL tells pip in the image where PyTorch's CPU wheels are.

    Example: lab deploy image --tag text-recognizer:1
    """
    from lab_utils.deploy.image import Build, model_below_project, run

    dockerfile = "deploy/app.Dockerfile" if app_image else Build.dockerfile
    build = Build(dockerfile, tag, model_below_project(model))
    build.check()
    run(build.command())
    print(tag)


@app.command()
def cost(
    pages: Annotated[
        list[int] | None, typer.Option(min=0, help="Pages a month; may be repeated.")
    ] = None,
    memory: Memory = None,
) -> None:
    """Show what a month of the model service costs, with the prices that are assumed.

    Example: lab deploy cost --pages 500 --pages 20000
    """
    from lab_utils.deploy.costs import cost_table
    from lab_utils.deploy.plan import PAGES
    from lab_utils.deploy.template import default_of

    print(cost_table(pages or PAGES, memory or default_of("Memory")))


@app.command("ec2-script")
def ec2_script(
    image: Annotated[str, typer.Option(help="The front end's image, with its registry.")],
    model_url: Annotated[
        str, typer.Option(help="The model service's address; else the model in the image reads.")
    ] = "",
    tunnel: Annotated[
        str, typer.Option(help="Command that opens a way in to port 7860; else there is none.")
    ] = "",
    host_name: Annotated[
        str, typer.Option(help="Name under which browsers reach it through that; * for any.")
    ] = "",
) -> None:
    """Print the script that makes an EC2 machine, or any with systemd, run the front end.

    Example: lab deploy ec2-script --image registry.example.org/text-recognizer-app:1
    """
    from lab_utils.deploy.ec2 import user_data

    print(user_data(image, model_url, tunnel, host_name), end="")


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
