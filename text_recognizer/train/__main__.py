"""`python -m text_recognizer.train reader|finder`: trains one network, resumes where it stopped.

All the stages of a training in one go, from a file: `lab train --recipe`.
"""

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from text_recognizer.errors import DeviceError, RecognizerError
from text_recognizer.pages.generator import KINDS, TRAINING_MIX
from text_recognizer.places import lab_folder
from text_recognizer.train.fit import NETWORKS, Machine, Settings, fit


def parse_mix(text: str) -> dict[str, float]:
    """`font=0.3,pen=0.7` as a mapping of kinds to shares."""
    mix = {}
    for part in text.split(","):
        kind, _, share = part.partition("=")
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(f"{kind!r} is none of {', '.join(KINDS)}")
        mix[kind] = float(share or 1.0)
    return mix


def positive(text: str) -> float:
    """A number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("give a number above 0")
    return number


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m text_recognizer.train",
        description="Train the line reader or the line finder on made pages. Run the same command "
        "again after a stop: it goes on from its last checkpoint.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--out", type=Path, help="folder of the run (default: .lab/runs/NETWORK)")
    parser.add_argument("--weights", type=Path, help="safetensors file to start from")
    parser.add_argument(
        "--mix",
        type=parse_mix,
        default=TRAINING_MIX,
        help="kinds of pages and their shares, such as font=0.3,pen=0.7",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=2000,
        help="optimizer steps in all, best a multiple of --validate-every: what comes after the "
        "last validation is not kept",
    )
    parser.add_argument(
        "--minutes",
        type=positive,
        help="reader only: train for so long instead of --steps, with strips made by --workers "
        "processes ahead of the GPU",
    )
    parser.add_argument(
        "--width",
        type=int,
        choices=(1, 2, 3, 4),
        default=1,
        help="with --minutes: times the channels; a wider network starts by reading exactly as "
        "the narrow one that it was made of",
    )
    parser.add_argument(
        "--batch", type=int, help="strips, or pages, in a batch (16; with --minutes what pays)"
    )
    parser.add_argument("--learning-rate", type=float, help="peak (reader 1e-4, finder 2e-3)")
    parser.add_argument("--validate-every", type=int, help="steps (100), or s with --minutes (20)")
    parser.add_argument(
        "--workers",
        type=int,
        help="processes that make pages (1; with --minutes one for each processor but one)",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--accelerator", default="auto", help="Lightning's: auto, cpu, gpu")
    parser.add_argument("--devices", default="auto", help="Lightning's: how many, or which")
    parser.add_argument("--precision", default="bf16-mixed", help="Lightning's")
    parser.add_argument("--ema", type=float, default=0.998, help="decay of the averaged weights")
    return parser


def main(arguments: list[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    out = options.out or lab_folder() / "runs" / options.network
    if options.minutes is not None:
        _train_by_time(options, out)
        return
    if options.width != 1:
        parser().error("--width goes with --minutes only")
    try:
        settings = Settings(
            steps=options.steps,
            batch=options.batch or 16,
            learning_rate=options.learning_rate,
            validate_every=options.validate_every or 100,
            mix=options.mix,
            ema=options.ema,
            seed=options.seed,
        )
    except ValidationError as error:
        wrong = error.errors()[0]
        parser().error(f"--{wrong['loc'][0]}: {wrong['msg']}")
    machine = Machine(options.accelerator, options.devices, options.precision, options.workers or 1)
    fitted = fit(options.network, settings, out, options.weights, machine)
    print(f"best {fitted.monitored} {fitted.score:.4f}: {fitted.weights}")


def _train_by_time(options: argparse.Namespace, out: Path) -> None:
    import torch

    from text_recognizer.train.by_time import TimedSettings, train_for

    if options.network != "reader":
        parser().error("--minutes trains the reader only")
    has_gpu = torch.cuda.is_available()
    if options.accelerator in ("gpu", "cuda") and not has_gpu:
        raise DeviceError("PyTorch finds no GPU here; give --accelerator cpu.")
    settings = TimedSettings(
        options.minutes,
        options.width,
        options.learning_rate,
        options.validate_every or 20,
        options.mix,
        options.batch,
        options.workers,
        options.seed,
    )
    device = "cuda" if has_gpu and options.accelerator != "cpu" else "cpu"
    trained = train_for(settings, out, options.weights, device)
    print(f"best cer {trained.score:.4f}: {trained.weights}")


if __name__ == "__main__":
    try:
        main()
    except RecognizerError as error:
        sys.exit(f"train: {error}")
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
