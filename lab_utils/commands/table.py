"""All commands of `lab` in one table, in the order of its help."""

from typing import Annotated

import typer

from lab_utils.commands import (
    deploy,
    evaluation,
    gpu,
    making_pages,
    notebooks,
    reading,
    service,
    staging,
    tracking,
)
from lab_utils.commands.app import app as web_app
from lab_utils.commands.doctor import doctor
from lab_utils.commands.options import group
from lab_utils.commands.profile import profile
from lab_utils.commands.tunnel import demo, tunnel

COMMANDS = {
    "run": staging.run,
    "read": reading.read,
    "train": staging.train,
    "stage": staging.stage,
    "fetch": staging.fetch,
    "lineage": staging.lineage,
    "cleanup": staging.cleanup,
    "evaluate": evaluation.evaluate,
    "pages": making_pages.pages,
    "fonts": making_pages.fonts,
    "pack": gpu.pack,
    "adopt": gpu.adopt,
    "app": web_app,
    "tunnel": tunnel,
    "demo": demo,
    "doctor": doctor,
    "compile": reading.compile_weights,
    "profile": profile,
    "wandb-server": tracking.wandb_server,
    "notebooks": notebooks.app,
    "publish": notebooks.publish,
    "service": service.app,
    "deploy": deploy.app,
}
"""A function is a command; a typer.Typer is a group of commands."""

app = group(
    "Turn a trained handwriting recognizer into a service that other people use.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def lab(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="LAB_DEBUG", help="Show the traceback of an error.")
    ] = False,
    trust_model: Annotated[
        bool,
        typer.Option("--trust-model", help="Run code in a model file that is not the lab's own."),
    ] = False,
) -> None:
    """The options of `lab` itself."""
    context.ensure_object(dict)["debug"] = debug
    if trust_model:
        from text_recognizer.model_file import trust_model_files

        trust_model_files()


for name, command in COMMANDS.items():
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name)
    else:
        app.command(name=name)(command)
