"""Whether a TorchScript file reads as the module it was made from, page for page.

The tokens have to be the same. The logits need not be, to the last bit: after its first runs
TorchScript fuses operations, and sums in another order.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from text_recognizer.evaluate.labels import Item
    from text_recognizer.models.paragraph_reader import ParagraphReader

TOLERANCE = 1e-2
"""Logits are about ±20, and beside each other differ by 1 or more where a letter is clear."""


@dataclass(frozen=True)
class Parity:
    """What a comparison on pages found."""

    pages: int
    lines: int
    pages_that_differ: list[str]
    """Files whose tokens are not the same."""
    largest_logit_difference: float
    """Over all frames and classes of all lines."""
    tolerance: float
    cer: float
    """Of the script's readings of these pages: edits over characters."""

    @property
    def holds(self) -> bool:
        return not self.pages_that_differ and self.largest_logit_difference <= self.tolerance

    def metadata(self) -> dict[str, Any]:
        return asdict(self) | {"holds": self.holds}


def compare(
    eager: "ParagraphReader",
    script: "torch.jit.ScriptModule",
    items: Sequence["Item"],
    tolerance: float = TOLERANCE,
) -> Parity:
    """Reads pages with both.

    Three pages at least: only from its third run on is a script what it stays, optimized.
    """
    import torch

    from text_recognizer.metrics import Edits, character_edits
    from text_recognizer.models.strips import cut_strips
    from text_recognizer.train.sample_lines import page_tensor

    differing, edits, lines, largest = [], [], 0, 0.0
    with torch.inference_mode():
        for item in items:
            page = page_tensor(item.path)
            tokens = script(page)
            if not torch.equal(tokens, eager(page)):
                differing.append(item.file)
            edits.append(character_edits(_text(tokens[0].tolist(), script), item.text))
            ink, paths, edges, reach, _ = eager.find_lines(page, None)[0]
            if paths.size(0):
                strips, widths = cut_strips(ink, paths, edges[0], edges[1], reach[0], reach[1])
                apart = eager.reader(strips, widths) - script.reader(strips, widths)
                # The largest of NaN and a number is NaN, which no tolerance lets through.
                largest = torch.maximum(torch.tensor(largest), apart.abs().max()).item()
                lines += paths.size(0)
    cer = Edits.total(edits).rate
    return Parity(len(items), lines, differing, largest, tolerance, cer)


def _text(tokens: Sequence[int], script: "torch.jit.ScriptModule") -> str:
    ignored = set(script.ignored)
    return "".join(script.tokens[token] for token in tokens if token not in ignored)
