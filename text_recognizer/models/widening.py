"""A wider line reader that reads exactly as a narrow one does, to start a training from.

Every channel appears several times, and what leads out of it is shared out unevenly among its
copies (Net2WiderNet: Chen, Goodfellow and Shlens, arXiv 1511.05641). The shares sum to 1, so the
logits stay the same but for rounding; they differ, so the copies get different gradients and can
learn different things. Layer norms keep their means and variances, since every channel has equally
many copies, and attention gets copies of whole heads.
"""

import torch
from torch import Tensor, nn

from text_recognizer.models.line_reader import LineReader, SelfAttention

UNEVEN = 0.4
"""How far the share of a copy may be from an even one, relative to that."""


def widened(reader: LineReader, width: int, seed: int = 0) -> LineReader:
    """A reader with `width` times the channels and heads that gives the same logits.

    Args:
        reader: of width 1.
        width: 1 copies the reader.
        seed: of the shares.
    """
    wide = LineReader(reader.head.out_features, width=width)
    generator = torch.Generator().manual_seed(seed)
    narrow = dict(reader.named_modules())
    with torch.no_grad():
        for name, layer in wide.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                # The stem's merge reads two features side by side, each with copies of its own.
                parts = 2 if layer is wide.backbone.stem.merge else 1
                _widen(layer, narrow[name], parts, generator)
            elif isinstance(layer, nn.LayerNorm):
                layer.weight.copy_(narrow[name].weight.repeat(width))
                layer.bias.copy_(narrow[name].bias.repeat(width))
        for name, layer in wide.named_modules():
            if isinstance(layer, SelfAttention):
                _group_heads(layer.query_key_value, narrow[name].query_key_value, width)
    return wide.train(reader.training)


def _widen(
    layer: nn.Conv2d | nn.Linear,
    narrow: nn.Conv2d | nn.Linear,
    parts: int,
    generator: torch.Generator,
) -> None:
    """Fills a layer with copies of a narrow one's outputs, their inputs shared out."""
    outputs = layer.weight.size(0) // narrow.weight.size(0)
    inputs = layer.weight.size(1) // narrow.weight.size(1)  # 1 where each channel has its own
    repeats = [outputs, *[1] * (narrow.weight.dim() - 1)]
    weight = narrow.weight.repeat(repeats)
    shared = [
        part * share
        for part in weight.chunk(parts, dim=1)
        for share in _shares(part, inputs, generator)
    ]
    layer.weight.copy_(torch.cat(shared, dim=1))
    layer.bias.copy_(narrow.bias.repeat(outputs))


def _shares(weight: Tensor, copies: int, generator: torch.Generator) -> Tensor:
    """(copies, *weight.shape) shares that sum to 1 for each output and input channel."""
    shape = [copies, weight.size(0), weight.size(1), *[1] * (weight.dim() - 2)]
    drawn = 1 + UNEVEN * (2 * torch.rand(shape, generator=generator) - 1)
    return drawn / drawn.sum(0, keepdim=True)


def _group_heads(layer: nn.Linear, narrow: nn.Linear, width: int) -> None:
    """Brings the outputs into the order of queries, keys and values, of each all heads."""
    third = narrow.out_features // 3
    order = torch.arange(narrow.out_features).view(3, third).repeat(1, width)
    rank = torch.arange(width).repeat_interleave(third).repeat(3)
    place = (order + rank.view(3, -1) * narrow.out_features).flatten()
    layer.weight.copy_(layer.weight[place].clone())
    layer.bias.copy_(layer.bias[place].clone())
