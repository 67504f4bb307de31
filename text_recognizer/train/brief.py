"""A training of a few seconds on the sample pages, for whoever needs a checkpoint to look at.

It is the real training, cut short: the network reads as it did before, and the file holds all that
a long run's does.
"""

from pathlib import Path

from text_recognizer.train.fine_tune import fine_tune
from text_recognizer.train.sample_lines import SampleLines

MAX_WIDTH = 384  # px of a strip: short lines take seconds where long ones take half a minute


def train_briefly(
    out: Path,
    steps: int = 3,
    pages: int = 3,
    lines: int = 3,
    learning_rate: float = 1e-5,
    seed: int = 1,
) -> Path:
    """Fine-tunes the packaged line reader for a few steps, quietly and on the processor.

    Args:
        out: the Lightning checkpoint to write; its folder is made.
        steps: of the optimizer, with a validation after the last.
        pages: sample pages to cut the lines from; one more is for validation.
        lines: in a batch.
        learning_rate: AdamW's peak; it falls as a cosine.

    Returns `out`. The same arguments give the same weights on the same machine.
    """
    data = SampleLines(
        lines=lines,
        batches_per_epoch=steps,
        train_pages=pages,
        validation_pages=1,
        max_width=MAX_WIDTH,
        seed=seed,
    )
    return fine_tune(data, out, steps, learning_rate).checkpoint
