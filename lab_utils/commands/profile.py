"""`lab profile`: what batches of pages cost on this machine, as tables, plots and traces."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab_tracker.wording import counted
from lab_utils.commands.options import Model, writing_to

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
        Path | None, typer.Option(help="Folder with a labels.json; else one sample page.")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Measure nothing: show the folder's traces.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="TensorBoard's port. Default: 6006, or one above."),
    ] = None,
) -> None:
    """Measure what batches of pages take on a device.

    Reads one sample page, or the pages of --pages, in batches of each size, and prints latency,
    pages a second, memory, and where the time goes. The folder gets profile.json, plots, and a
    trace for each size; a profile that it holds is replaced once the new one is whole.
    --tensorboard serves the traces on 127.0.0.1 with the plugin torch-tb-profiler, until Ctrl-C.

    Example: lab profile --device cuda --batch-sizes 1,2,4,8,16,32,64,128
    """
    from lab_utils.profiling import profile_batch_sizes
    from lab_utils.profiling.batch_sizes import checked_sizes
    from lab_utils.profiling.tensorboard import needs, serve_traces
    from text_recognizer.evaluate.labels import load_items
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
    from text_recognizer.places import lab_folder

    folder = out or lab_folder() / "profiles" / device.partition(":")[0]
    if tensorboard:
        return serve_traces(folder, port)
    needs("matplotlib")  # for the plots: not found out after minutes of measuring
    sizes = checked_sizes(batch_sizes.split(","))
    images = [item.path for item in load_items(pages)] if pages else None
    recognizer = ParagraphTextRecognizer(model, device)
    command = shlex.join(["lab", *sys.argv[1:]])
    with writing_to(out):
        found = profile_batch_sizes(
            recognizer, None, sizes, out=folder, pages=images, progress=True, command=command
        )
    _print_tables(found)
    with writing_to(out):
        _draw(found, folder)
    traces = [batch.trace.stat().st_size for batch in found.batches if batch.trace]
    print(f"\n{folder}: {counted(len(traces), 'trace')}, {sum(traces) / 1e6:.1f} MB")


def _draw(found: "Profile", folder: Path) -> None:
    """Writes the plots; without a batch size that fits the memory there is nothing to draw."""
    from lab_utils.profiling import read_trace
    from lab_utils.profiling.plots import latency_and_throughput, utilization
    from lab_utils.profiling.timeline import timeline

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
    from lab_utils.profiling.tables import as_text, figures_table, operators_table, parts_table

    print(f"{found.about}\n\n{as_text(figures_table(found))}")
    best = found.best
    if best is None:
        return
    if found.device.get("kind") == "cuda" and not best.device_seconds:
        print("\nThe profiler recorded nothing of the GPU: CUPTI is missing, or not allowed here.")
    print(f"\nShare of a batch's time, by its pages\n{as_text(parts_table(found))}")
    print(f"\nTop operators, batch of {best.batch_size}\n{as_text(operators_table(best))}")
