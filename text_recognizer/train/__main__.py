"""`python -m text_recognizer.train reader|finder`: trains one network, resumes where it stopped."""

import argparse
import sys
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger

from text_recognizer.errors import RecognizerError
from text_recognizer.pages.generator import KINDS, TRAINING_MIX
from text_recognizer.places import lab_folder
from text_recognizer.train.finder import FinderTraining
from text_recognizer.train.pages_data import PagesData
from text_recognizer.train.reader import ReaderTraining
from text_recognizer.train.strips_data import StripsData
from text_recognizer.weights import export_checkpoint, load_weights


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
    parser.add_argument("network", choices=["reader", "finder"])
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
    pl.seed_everything(options.seed, verbose=False)
    torch.set_float32_matmul_precision("high")
    # Lightning's advice on worker counts does not fit loaders that hold finished batches.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    out = options.out or lab_folder() / "runs" / options.network
    schedule = {"warmup_steps": min(100, options.steps // 10), "max_steps": options.steps}
    if options.network == "reader":
        data = StripsData(
            options.mix, options.batch, options.validate_every, 3, options.workers, options.seed
        )
        module = ReaderTraining(
            options.learning_rate or 1e-4, **schedule, kinds=tuple(data.validation_kinds)
        )
        network, monitored = module.reader, "cer"
    else:
        data = PagesData(
            options.mix, options.batch, options.validate_every, 8, options.workers, options.seed
        )
        module = FinderTraining(
            options.learning_rate or 2e-3, **schedule, kinds=tuple(data.validation_kinds)
        )
        network, monitored = module.finder, "lines_wrong"
    if options.weights:
        load_weights(network, options.weights)
    # Both at the end of a validation: Lightning 2.6 resumes from there exactly, and from the end of
    # an epoch not. A `save_last` would be written only when the score was the best so far.
    best, last = (
        ModelCheckpoint(
            out,
            filename=name,
            monitor=monitor,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        for name, monitor in (("best", monitored), ("last", None))
    )
    trainer = pl.Trainer(
        default_root_dir=out,
        accelerator=options.accelerator,
        devices=options.devices,
        precision=options.precision,
        max_steps=options.steps,
        gradient_clip_val=1.0,
        use_distributed_sampler=False,  # EpochSampler shares the batches out itself
        logger=CSVLogger(out, name="log"),  # a folder a start: none is written over
        log_every_n_steps=10,
        callbacks=[
            best,
            last,  # after `best`, whose state it keeps
            EMAWeightAveraging(
                decay=options.ema, update_starting_at_step=min(50, options.steps // 4)
            ),
            TQDMProgressBar(refresh_rate=5),
        ],
        num_sanity_val_steps=0,
        inference_mode=False,  # metrics go on counting after a first `validate`
        enable_model_summary=False,
    )
    checkpoint = out / "last.ckpt"
    if not checkpoint.exists():
        trainer.validate(module, data, verbose=True)  # where it started from
    try:
        trainer.fit(module, data, ckpt_path=checkpoint if checkpoint.exists() else None)
    except SystemExit:  # Lightning's answer to Ctrl+C
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    if best.best_model_path:
        exported = export_checkpoint(Path(best.best_model_path), out / f"line_{options.network}")
        print(f"best {monitored} {float(best.best_model_score):.4f}: {exported}")


if __name__ == "__main__":
    try:
        main()
    except RecognizerError as error:
        sys.exit(f"train: {error}")
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
