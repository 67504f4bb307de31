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
Memory = Annotated[int, typer.Option(help="MB of the function; 1769 buy a core.")]
Tool = Annotated[str | None, typer.Option(help="docker or buildah; else the first that is usable.")]
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
    memory: Memory = 3008,
    timeout: Annotated[int, typer.Option(help="Seconds for a request.")] = 30,
    concurrency: Annotated[
        int, typer.Option(help="Requests at a time, reserved; limits the bill. 0 reserves none.")
    ] = 5,
    auth: Annotated[
        str, typer.Option(help="AWS_IAM: signed calls alone; NONE: everybody may call the URL.")
    ] = "AWS_IAM",
    origin: Annotated[
        list[str] | None,
        typer.Option(help="Origin whose pages may call it from a browser; may be repeated."),
    ] = None,
    retention: Annotated[int, typer.Option(help="Days that logs are kept.")] = 14,
    alarm_topic: Annotated[
        str | None, typer.Option(help="ARN of an SNS topic to tell of alarms.")
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(help="Tag or digest of a pushed image to run, instead of building one."),
    ] = None,
    model: Model = None,
    tool: Tool = None,
) -> None:
    """Deploy the model service as a function with a URL.

    The plan shows each call and the costs; it needs no account and no network. --apply makes what
    is missing, changes what differs, and goes on where it was interrupted.

    Example: lab deploy lambda --plan --region eu-central-1
    """
    from lab_utils.deploy.image import Build, check_model, find_tool, model_below_project
    from lab_utils.deploy.settings import LambdaSettings

    settings = LambdaSettings(
        name=name,
        memory=memory,
        timeout=timeout,
        concurrency=concurrency,
        auth=auth.upper(),
        origins=origin or [],
        retention=retention,
        alarm_topic=alarm_topic,
    )
    build = Build(model=model_below_project(model))
    if plan:
        from lab_utils.deploy.plan import plan as make_plan

        print(make_plan(settings, region, build, tool or "docker", image))
        return
    from lab_utils.deploy.apply import apply
    from lab_utils.deploy.aws import Aws

    aws = Aws(region)
    if image is None:
        check_model(build.model)
        tool = find_tool(tool)
    try:
        print(apply(settings, aws, tool, build, image, say=_progress))
    except KeyboardInterrupt:
        _progress("Interrupted: the same command goes on from what was made.")
        raise


@app.command()
def destroy(
    name: Name = "text-recognizer",
    region: Region = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """List what `lab deploy lambda` made, and remove it.

    Only what carries the deployment's tags is removed: the function with its URL, its log, alarms,
    role, and the image repository with all images.

    Example: lab deploy destroy --region eu-central-1
    """
    from lab_utils.deploy.aws import Aws
    from lab_utils.deploy.destroy import destroy as remove
    from lab_utils.deploy.destroy import find

    aws = Aws(region)
    found = find(name, aws)
    for resource in found.foreign:
        _progress(f"{resource.kind} {resource.name}: left alone, this lab did not make it")
    if not found.ours:
        _progress(f"Nothing of {name} is in {aws.region}.")
        return
    for resource in found.ours:
        print(f"{resource.kind} {resource.name}")
    if not yes and not typer.confirm("Remove these?", err=True):
        raise typer.Exit(1)
    remove(found, aws, say=_progress)


@app.command()
def image(
    tag: Annotated[str, typer.Option(help="Name of the image.")] = "text-recognizer:latest",
    app_image: Annotated[
        bool, typer.Option("--app", help="The front end instead of the model service.")
    ] = False,
    base: Annotated[
        str | None, typer.Option(help="Image with Python 3.11; else the Dockerfile's.")
    ] = None,
    builder: Annotated[
        str | None, typer.Option(help="The same Python with pip; else the base.")
    ] = None,
    wheels: Annotated[
        Path | None,
        typer.Option(help="Folder of wheels to install from, instead of an index (buildah)."),
    ] = None,
    model: Model = None,
    tool: Tool = None,
) -> None:
    """Build the image of the model service, or of the front end.

    PIP_EXTRA_INDEX_URL tells pip in the image where PyTorch's CPU wheels are.

    Example: lab deploy image --tag text-recognizer:1
    """
    from lab_utils.deploy.image import (
        APP_DOCKERFILE,
        LAMBDA_DOCKERFILE,
        Build,
        build_command,
        check_model,
        find_tool,
        model_below_project,
        run,
    )

    build = Build(
        dockerfile=APP_DOCKERFILE if app_image else LAMBDA_DOCKERFILE,
        tag=tag,
        model=model_below_project(model),
        base=base,
        builder=builder,
        wheels=wheels,
    )
    check_model(build.model)
    run(build_command(find_tool(tool), build))
    print(tag)


@app.command()
def cost(
    pages: Annotated[
        list[int] | None, typer.Option(min=0, help="Pages a month; may be repeated.")
    ] = None,
    memory: Memory = 3008,
) -> None:
    """Show what a month of the model service costs, with the prices that are assumed.

    Example: lab deploy cost --pages 500 --pages 20000
    """
    from lab_utils.deploy.costs import cost_table
    from lab_utils.deploy.plan import PAGES

    print(cost_table(pages or PAGES, memory))


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
