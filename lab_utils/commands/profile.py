"""`lab profile`: what batches of pages cost on this machine, as tables, plots and traces."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab_utils.commands.options import Model

if TYPE_CHECKING:
    from lab_utils.profiling import Profile


def profile(
    device: Annotated[str, typer.Option(help="cpu or cuda (cuda:1, ...).")] = "cpu",
    batch_sizes: Annotated[
        str, typer.Option(metavar="N,N,...", help="Pages in a batch.")
    ] = "1,2,4,8,16,32",
    out: Annotated[
        Path | None, typer.Option(help="The profile's folder; else .lab/profiles/DEVICE.")
    ] = None,
    model: Model = None,
    pages: Annotated[
        Path | None, typer.Option(help="Folder with a labels.json; else the pages to show.")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Measure nothing: show the folder's traces.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Of TensorBoard; else 6006, or one above."),
    ] = None,
) -> None:
    """Measure what batches of pages take on a device.

    Reads sample pages in batches of each size, and prints latency, pages a second, memory, and
    where the time goes. The folder gets profile.json, plots, and a trace for each size; a profile
    that it holds is replaced once the new one is whole. --tensorboard serves the traces on
    127.0.0.1 with the plugin torch-tb-profiler, until Ctrl-C.

    Example: lab profile --device cuda --batch-sizes 1,2,4,8,16,32,64,128
    """
    from lab_utils.profiling.batch_sizes import checked_sizes
    from lab_utils.profiling.folder import ProfileError, check_replaceable
    from lab_utils.profiling.tensorboard import needs, serve_traces
    from text_recognizer.places import lab_folder

    folder = out or lab_folder() / "profiles" / device.partition(":")[0]
    if tensorboard:
        return serve_traces(folder, port)
    needs("matplotlib", "matplotlib")  # for the plots: not found out after minutes of measuring
    try:
        numbers = [int(word) for word in batch_sizes.split(",")]
    except ValueError:
        raise ProfileError(
            f'"{batch_sizes[:40]}" isn\'t a list of batch sizes; give numbers such as 1,2,4.'
        ) from None
    sizes = checked_sizes(numbers)
    check_replaceable(folder)
    images = None
    if pages:
        from text_recognizer.evaluate.labels import load_items

        images = [item.path for item in load_items(pages)]
    found = _measured(device, model, sizes, folder, images)
    _print_tables(found)
    traces = [batch.trace.stat().st_size for batch in found.batches if batch.trace]
    print(f"\n{folder}: {len(traces)} traces, {sum(traces) / 1e6:.1f} MB")


def _measured(
    device: str, model: Path | None, sizes: list[int], folder: Path, images: list[Path] | None
) -> "Profile":
    import shlex

    from lab_utils.model import model_file
    from lab_utils.profiling import Profile, profile_batch_sizes
    from lab_utils.profiling.folder import replaced_folder
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    recognizer = ParagraphTextRecognizer(model_file(model), device)
    # The plots belong to the whole that takes the folder's place.
    with replaced_folder(folder) as partial:
        command = shlex.join(["lab", *sys.argv[1:]])
        _draw(
            profile_batch_sizes(
                recognizer, None, sizes, out=partial, pages=images, progress=True, command=command
            ),
            partial,
        )
    return Profile.load(folder)


def _draw(found: "Profile", folder: Path) -> None:
    """Writes the plots; without a batch size that fits the memory there is nothing to draw."""
    from lab_utils.profiling.plots import latency_and_throughput, utilization
    from lab_utils.profiling.timeline import timeline
    from lab_utils.profiling.trace import read_trace

    if not found.measured:
        return
    figures = {
        "latency_and_throughput": latency_and_throughput(found),
        "utilization": utilization(found),
    }
    for batch in (found.measured[0], found.best):
        if batch.trace:
            figures[f"timeline_{batch.batch_size:02}"] = timeline(read_trace(batch.trace))
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=130)


def _print_tables(found: "Profile") -> None:
    from lab_utils.profiling import tables

    print(f"{found.about}\n\n{tables.as_text(tables.figures_table(found))}")
    best = found.best
    if best is None:
        return
    if found.device.get("kind") == "cuda" and not best.device_seconds:
        print("\nThe profiler recorded nothing of the GPU: CUPTI is missing, or not allowed here.")
    for title, table in {
        "Share of a batch's time, by its pages": tables.parts_table(found),
        f"Top operators, batch of {best.batch_size}": tables.operators_table(best),
    }.items():
        if table[1]:
            print(f"\n{title}\n{tables.as_text(table)}")
