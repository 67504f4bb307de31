"""`python -m text_recognizer.train reader|finder`: trains one network, resumes where it stopped.

All the stages of a training in one go, from a file: `lab train --recipe`.
"""

import argparse
import sys
from pathlib import Path

from text_recognizer.errors import RecognizerError
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
    parser.add_argument("--batch", type=int, default=16, help="strips, or pages, in a batch")
    parser.add_argument("--learning-rate", type=float, help="peak (reader 1e-4, finder 2e-3)")
    parser.add_argument("--validate-every", type=int, default=100, help="steps")
    parser.add_argument("--workers", type=int, default=1, help="processes that make pages")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--accelerator", default="auto", help="Lightning's: auto, cpu, gpu")
    parser.add_argument("--devices", default="auto", help="Lightning's: how many, or which")
    parser.add_argument("--precision", default="bf16-mixed", help="Lightning's")
    parser.add_argument("--ema", type=float, default=0.998, help="decay of the averaged weights")
    return parser


def main(arguments: list[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    settings = Settings(
        options.network,
        options.steps,
        options.batch,
        options.learning_rate,
        options.validate_every,
        options.mix,
        options.ema,
        options.seed,
    )
    machine = Machine(options.accelerator, options.devices, options.precision, options.workers)
    out = options.out or lab_folder() / "runs" / options.network
    fitted = fit(settings, out, options.weights, machine)
    print(f"best {fitted.monitored} {fitted.score:.4f}: {fitted.weights}")


if __name__ == "__main__":
    try:
        main()
    except RecognizerError as error:
        sys.exit(f"train: {error}")
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
