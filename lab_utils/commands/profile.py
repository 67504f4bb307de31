"""`lab profile`: what batches of pages cost on this machine, as tables, plots and traces."""

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lab_utils.profiling import Profile
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer


def profile(
    device: Annotated[str, typer.Option(help="cpu or cuda (cuda:1, ...).")] = "cpu",
    batch_sizes: Annotated[
        str, typer.Option(metavar="N,N,...", help="Pages in a batch.")
    ] = "1,2,4,8,16,32",
    out: Annotated[
        Path | None, typer.Option(help="The profile's folder; else .lab/profiles/DEVICE.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="TorchScript file; else the packaged weights.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Threads of PyTorch; else its own choice.")
    ] = None,
    pages: Annotated[
        Path | None, typer.Option(help="Folder with a labels.json; else the pages to show.")
    ] = None,
    keep_traces: Annotated[
        str,
        typer.Option(metavar="N,N,...", help="Batch sizes whose traces are kept: all, none or N."),
    ] = "all",
    plot: Annotated[
        bool, typer.Option("--plot", help="Measure nothing: draw the plots in the folder again.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Measure nothing: show the folder's traces.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Of TensorBoard; else 6006, or a free one."),
    ] = None,
) -> None:
    """Measure what batches of pages take on a device.

    Reads sample pages in batches of each size, and prints latency, pages a second, memory, and
    where the time goes. The folder gets profile.json, plots, and a trace for each size; a profile
    that it holds is replaced once the new one is whole. --tensorboard serves the traces on
    127.0.0.1 with the plugin torch-tb-profiler, until Ctrl-C.

    Example: lab profile --device cuda --batch-sizes 1,2,4,8,16,32,64,128 --keep-traces 1,16
    """
    from lab_utils.profiling.folder import ProfileError, check_replaceable
    from text_recognizer.places import lab_folder

    if plot and tensorboard:
        raise ProfileError("Give --plot or --tensorboard, not both.")
    folder = out or lab_folder() / "profiles" / device.partition(":")[0]
    if tensorboard:
        from lab_utils.profiling.tensorboard import serve_traces

        return serve_traces(folder, port)
    if importlib.util.find_spec("matplotlib") is None:
        raise ProfileError("The package matplotlib is missing; `pip install matplotlib` adds it.")
    if plot:
        return _draw_again(folder)
    sizes = _sizes(batch_sizes)
    kept = _kept(keep_traces, sizes)
    check_replaceable(folder)
    images = None
    if pages:
        from text_recognizer.evaluate.labels import load_items

        images = [item.path for item in load_items(pages)]
    recognizer = _recognizer(device, model, threads)
    found = _measured(recognizer, sizes, kept, folder, images)
    _print_tables(found)
    print(f"\n{folder}: {_contents(folder)}")


def _sizes(text: str) -> list[int]:
    from lab_utils.profiling.batch_sizes import checked_sizes
    from lab_utils.profiling.folder import ProfileError

    # Ten digits are more than any limit, and int() refuses thousands of them in its own way.
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    for word in words:
        if not (word.isascii() and word.removeprefix("-").isdigit() and len(word) <= 10):
            raise ProfileError(f'"{word[:40]}" is no batch size; give numbers such as 1,2,4.')
    return checked_sizes([int(word) for word in words])


def _kept(text: str, sizes: list[int]) -> list[int] | None:
    """The batch sizes whose traces are kept; None for all."""
    from lab_utils.profiling.folder import ProfileError

    special = {"all": None, "none": []}
    if text in special:
        return special[text]
    kept = _sizes(text)
    if missing := set(kept) - set(sizes):
        raise ProfileError(
            f"--keep-traces {min(missing)} is none of the batch sizes; name some of them."
        )
    return kept


def _recognizer(device: str, model: Path | None, threads: int | None) -> "ParagraphTextRecognizer":
    import torch

    from lab_utils.model import model_file
    from lab_utils.profiling.folder import ProfileError
    from text_recognizer.errors import DeviceError
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (number.isascii() and number.isdigit())):
        raise ProfileError(f'"{device}" is no device to profile; give cpu or cuda.')
    # Before the weights are compiled, which takes a while.
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError('There is no GPU that PyTorch can use here ("cuda"); give --device cpu.')
    if threads:
        torch.set_num_threads(threads)
    return ParagraphTextRecognizer(model_file(model), device)


def _measured(
    recognizer: "ParagraphTextRecognizer",
    sizes: list[int],
    kept: list[int] | None,
    folder: Path,
    images: list[Path] | None,
) -> "Profile":
    import shlex

    from lab_utils.profiling import Profile, profile_batch_sizes
    from lab_utils.profiling.folder import PROFILE_NAME, replaced_folder

    # The plots belong to the whole that takes the folder's place.
    with replaced_folder(folder) as partial:
        found = profile_batch_sizes(
            recognizer,
            None,
            sizes,
            out=partial,
            pages=images,
            progress=True,
            command=shlex.join(["lab", *sys.argv[1:]]),
        )
        _draw(found, partial)
        if kept is not None:
            found = found.keep_traces(kept)
            found.save(partial / PROFILE_NAME)
    return Profile.load(folder)


def _draw(found: "Profile", folder: Path) -> list[Path]:
    """Writes the plots; without a batch size that fits the memory there is nothing to draw."""
    from lab_utils.profiling.plots import latency_and_throughput, utilization
    from lab_utils.profiling.timeline import timeline
    from lab_utils.profiling.trace import read_trace

    if not found.measured:
        return []
    figures = {
        "latency_and_throughput": latency_and_throughput(found),
        "utilization": utilization(found),
    }
    for batch in {b.batch_size: b for b in (found.measured[0], found.best)}.values():
        if batch.trace:
            figures[f"timeline_{batch.batch_size:02}"] = timeline(read_trace(batch.trace))
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=130)
    return [folder / f"{name}.png" for name in figures]


def _draw_again(folder: Path) -> None:
    from lab_utils.profiling import Profile
    from lab_utils.profiling.folder import ProfileError

    found = Profile.load(folder)
    try:
        paths = _draw(found, folder)
    except OSError as error:
        raise ProfileError(
            f"The plots cannot be written into {folder} ({error.strerror}); make it writable."
        ) from None
    print(*paths, sep="\n")


def _print_tables(found: "Profile") -> None:
    from lab_utils.profiling import tables

    print(f"{found.about}\n\n{tables.as_text(tables.figures_table(found))}")
    best = found.best
    if found.device.get("kind") == "cuda" and found.measured and not best.device_seconds:
        print("\nThe profiler recorded nothing of the GPU: CUPTI is missing, or not allowed here.")
    if best is None:
        return
    size = best.batch_size
    for title, table in {
        "Share of a batch's time, by its pages": tables.parts_table(found),
        f"Top operators, batch of {size}": tables.operators_table(best),
        f"While the GPU was idle, batch of {size}": tables.waiting_table(best),
    }.items():
        if table[1]:
            print(f"\n{title}\n{tables.as_text(table)}")


def _contents(folder: Path) -> str:
    from lab_utils.profiling.folder import trace_paths

    traces = trace_paths(folder)
    size = sum(path.stat().st_size for path in traces) / 1e6
    counts = {"plot": sum(1 for _ in folder.glob("*.png")), "trace": len(traces)}
    parts = [f"{count} {name}" + "s" * (count != 1) for name, count in counts.items()]
    return f"profile.json, {', '.join(parts)} ({size:.1f} MB)"
