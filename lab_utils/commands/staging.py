"""`lab train | stage | fetch | lineage | cleanup`, and `lab run`: models on their way to a service.

What they do is in `lab_utils.staging`; here are the options and what is said on a terminal.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lab_tracker.wording import counted
from lab_utils import staging
from lab_utils.commands.options import AppPort, say, writing_to
from lab_utils.staging.names import BEST, LATEST, PROJECT
from lab_utils.staging.tracker import labelled
from text_recognizer.places import PROJECT as PROJECT_FOLDER
from text_recognizer.places import lab_folder

Project = Annotated[
    str, typer.Option(envvar="WANDB_PROJECT", help="NAME or ENTITY/NAME at the tracker.")
]
Version = Annotated[str, typer.Argument(help="ALIAS, v3 or NAME:ALIAS of a staged model.")]


def run(
    app: Annotated[
        bool, typer.Option("--app", help="Then serve the web app with the fetched model.")
    ] = False,
    port: AppPort = None,
    project: Project = PROJECT,
) -> None:
    """Hand a model over, from data to text, and read three sample pages.

    Trains for a few steps, logs the checkpoint, compiles and stages it, downloads what was staged,
    and reads the pages with it in a process that has torch and Pillow only. Shows the seconds that
    each step took, and the text and character error rate (CER) of each page. Afterwards `lab read`
    and `lab app` use this model; it reads about as well as the packaged one, after so few steps.
    """

    def show(link: str, seconds: float) -> None:
        print(f"{link:<20}{seconds:6.1f} s", flush=True)

    done = staging.hand_off(project=project, on_link=show)
    print(f"{done.trained.name} -> {done.staged.name} -> {done.file}\n")
    for page in done.pages:
        name = page.item.path.relative_to(PROJECT_FOLDER)
        lines = counted(page.lines, "line")
        print(f"{name}: {page.seconds:.2f} s, {lines}, CER {page.cer:.3f}")
        print("".join(f"    {line}\n" for line in page.text.split("\n")))
    if app:
        from lab_utils.commands.app import app as serve_app

        serve_app(port=port, model=done.file)


def train(
    context: typer.Context,
    recipe: Annotated[
        Path | None,
        typer.Option(help="A TOML file with all the stages of a long training; see above."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="With --recipe: the folder; else .lab/runs/NAME.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=10**7, help="Steps of the optimizer.")] = 8,
    pages: Annotated[int, typer.Option(min=1, help="Pages to train on.")] = 4,
    all_pages: Annotated[bool, typer.Option("--all-pages", help="Train on all of them.")] = False,
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak of AdamW's rate.")] = 1e-5,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same weights.")] = 1,
    data: Annotated[
        Path | None, typer.Option(help="Folder with a labels.json; else the sample pages.")
    ] = None,
    max_width: Annotated[
        int, typer.Option(min=16, help="Leave out longer lines (px of a strip 48 px high).")
    ] = 384,
    validate_every: Annotated[
        int | None, typer.Option(min=1, help="Steps; else once, at the end.")
    ] = None,
    project: Project = PROJECT,
) -> None:
    """Train a little from the packaged weights, and keep the checkpoint at the tracker.

    The checkpoint with the lowest CER on the validation lines has the alias `best`.

    With --recipe it trains reader and finder as the file says, for hours, and leaves a folder of
    weights and their CER on the validation pages. If it was stopped, the same command resumes it.
    The packaged weights' recipe is data/weights/recipe.toml.

    Example: lab train --steps 8 --pages 4

    Example: lab train --recipe data/weights/recipe.toml
    """
    if recipe is not None:
        _follow_recipe(context, recipe, out)
        return
    if out is not None:
        raise typer.BadParameter("goes with --recipe only.", param_hint="--out")
    done = staging.train(
        steps,
        None if all_pages else pages,
        learning_rate,
        seed,
        data=data,
        max_width=max_width,
        validate_every=validate_every,
        project=project,
        progress=sys.stderr.isatty(),
    )
    found = done.metadata
    print(
        f"{labelled(done)}: CER {found['score']:.4f} on the validation lines "
        f"({found['score_before']:.4f} before), step {found['step']}, {done.size / 1e6:.1f} MB, "
        f"run {done.logged_by().id}"
    )


def _follow_recipe(context: typer.Context, file: Path, out: Path | None) -> None:
    """The long training; the other options belong to the short one."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if name not in ("recipe", "out") and source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise typer.BadParameter(f"{option} does not go with it.", param_hint="--recipe")
    from text_recognizer.train.follow_recipe import follow
    from text_recognizer.train.recipe import read_recipe

    follow(
        read_recipe(file), out or lab_folder() / "runs" / file.stem, say=partial(print, flush=True)
    )


def stage(
    checkpoint: Annotated[str, typer.Option(help="ALIAS, v3 or NAME:ALIAS.")] = BEST,
    promote: Annotated[
        bool, typer.Option("--promote", help="Give it the alias production, too.")
    ] = False,
    project: Project = PROJECT,
) -> None:
    """Compile a checkpoint to TorchScript, prove that it reads the same, and log it.

    Example: lab stage --checkpoint best --promote
    """
    done = staging.stage(checkpoint, promote=promote, project=project, on_step=say)
    found = done.metadata
    print(
        f"{labelled(done)}: from {found['checkpoint']}, {done.size / 1e6:.1f} MB, "
        f"the same tokens on {found['parity']['pages']} pages, "
        f"logits within {found['parity']['largest_logit_difference']:.1g}"
    )


def fetch(
    version: Version = LATEST,
    out: Annotated[Path | None, typer.Option(help="File or folder; else .lab/staged.")] = None,
    project: Project = PROJECT,
) -> None:
    """Download a staged model, check its SHA-256, put it in place, and say where.

    Without --out, `lab read`, `lab app` and the services use it from then on.

    Example: lab fetch production --out model.pt
    """
    with writing_to(out):
        file = staging.fetch(version, out, project=project)
    print(file)


def lineage(
    version: Version = LATEST,
    project: Project = PROJECT,
) -> None:
    """Show where a staged model comes from: runs, checkpoint, data, with settings and metrics.

    The tracker's page draws it: `lab wandb-server`.

    Example: lab lineage production
    """
    print(staging.lineage(version, project=project).table())


def cleanup(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME:VERSION", help="Only these.")
    ] = None,
    keep: Annotated[
        int, typer.Option(min=0, help="Keep so many of the newest of each artifact.")
    ] = 0,
    yes: Annotated[bool, typer.Option("--yes", help="Delete them; else only list them.")] = False,
    project: Project = PROJECT,
) -> None:
    """List the versions that nobody needs, and delete them with --yes.

    What has an alias (best, latest, production) stays, and what it descends from.

    Example: lab cleanup --keep 3 --yes
    """
    plan = staging.cleanup(names or (), keep=keep, yes=yes, project=project)
    for one in plan.versions:
        if one.kept_because is None:
            print(f"{'deleted' if plan.deleted else 'delete':<8}{one.name}")
        elif not names:
            print(f"{'keep':<8}{one.name}  ({one.kept_because})")
    if plan.to_delete and not plan.deleted:
        count, size = len(plan.to_delete), plan.bytes / 1e6
        say(f"lab: note: {count} to delete, {size:.1f} MB; --yes does it")
