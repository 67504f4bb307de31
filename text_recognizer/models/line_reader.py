"""Reads one straight line of handwriting with CTC, many lines in a batch.

It is PP-OCRv6 small's recognizer rebuilt in plain PyTorch, so that training starts from a network
that knows print and script already (`import_line_reader` brings the weights).
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.profiler import record_function

from text_recognizer.vocabulary import NUM_READER_CLASSES

CHANNELS = 120
"""Of the head's input, in a reader of width 1."""


def valid_columns(frames: Tensor, columns_per_frame: int, num_columns: int) -> Tensor:
    """Which feature columns belong to the strip, not to its padding: (N, 1, 1, num_columns) bool.

    Args:
        frames: (N,) int64, output frames of each strip.
        columns_per_frame: feature columns for each output frame at this depth of the network.
        num_columns: width of the features in columns.
    """
    columns = torch.arange(num_columns, device=frames.device)
    return (columns < (frames * columns_per_frame).unsqueeze(1)).unsqueeze(1).unsqueeze(1)


def masked(features: Tensor, valid: Tensor | None) -> Tensor:
    """Features with zeros beyond each strip's width; a convolution then sees what its own zero
    padding would show it at the end of a strip that is read by itself."""
    if valid is None:
        return features
    return features * valid.to(features.dtype)


class Stem(nn.Module):
    """Strips (N, 1, 48, W) to features (N, channels, 12, W/4): a fine path and a pooled one."""

    def __init__(self, middle: int = 48, channels: int = 96) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, middle, 3, stride=2, padding=1)
        self.squeeze = nn.Conv2d(middle, middle // 2, 2)
        self.expand = nn.Conv2d(middle // 2, middle, 2)
        self.merge = nn.Conv2d(2 * middle, middle, 3, stride=2, padding=1)
        self.project = nn.Conv2d(middle, channels, 1)

    def forward(self, strips: Tensor, valid: Tensor | None) -> Tensor:
        features = masked(F.relu_(self.first(strips)), valid)
        # From here to the end: the pointwise convolutions are then plain matrix products.
        features = features.contiguous(memory_format=torch.channels_last)
        # Kernels of 2 keep the size by one row and column of zeros at the bottom and the right.
        padded = F.pad(features, [0, 1, 0, 1])
        # The largest of each 2 x 2 square; F.max_pool2d takes eight times as long for it.
        taller = torch.maximum(padded[:, :, :-1], padded[:, :, 1:])
        pooled = torch.maximum(taller[:, :, :, :-1], taller[:, :, :, 1:])
        fine = masked(F.relu_(self.squeeze(padded)), valid)
        fine = F.relu_(self.expand(F.pad(fine, [0, 1, 0, 1])))
        merged = F.relu_(self.merge(torch.cat([pooled, fine], dim=1)))
        return F.relu_(self.project(merged))


class SqueezeExcitation(nn.Module):
    """Weighs the channels by what the whole strip holds (Hu et al., arXiv 1709.01507)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 4, 1)
        self.excite = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, features: Tensor, valid: Tensor | None) -> Tensor:
        if valid is None:
            mean = features.mean(dim=[2, 3], keepdim=True)
        else:
            columns = masked(features.mean(dim=2, keepdim=True), valid)
            count = valid.sum(dim=3, keepdim=True).to(features.dtype)
            mean = columns.sum(dim=3, keepdim=True) / count
        return features * F.hardsigmoid(self.excite(F.relu_(self.squeeze(mean))))


class Block(nn.Module):
    """Mixes neighbours with a depthwise convolution, then channels with two pointwise ones.

    The shape of RepViT's block (Wang et al., arXiv 2307.09283) after its branches were merged.
    A block that changes the number of channels halves the height and has no residual path. One
    that pools gives the means of 3 x 2 features.
    """

    def __init__(
        self, channels: int, out_channels: int, attend_channels: bool = False, pool: bool = False
    ) -> None:
        super().__init__()
        self.residual: Final[bool] = channels == out_channels
        self.pool: Final[bool] = pool
        stride = (1, 1) if self.residual else (2, 1)
        self.depthwise = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels)
        self.attention = SqueezeExcitation(channels) if attend_channels else None
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.project = nn.Conv2d(2 * channels, out_channels, 1)

    def forward(self, features: Tensor, valid: Tensor | None) -> Tensor:
        features = self.depthwise(masked(features, valid))
        if self.attention is not None:
            features = self.attention(features, valid)
        mixed = F.gelu(self.expand(features))
        if self.pool:  # before the projection: it is linear, and has a sixth to do then
            features, mixed = F.avg_pool2d(features, [3, 2]), F.avg_pool2d(mixed, [3, 2])
        mixed = self.project(mixed)
        return features + mixed if self.residual else mixed


class Backbone(nn.Module):
    """Strips (N, 1, 48, W) to one column of features every 8 px: (N, 384 * width, 1, W/8)."""

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        low, middle, high = 96 * width, 192 * width, 384 * width
        self.stem = Stem(48 * width, low)
        self.stages = nn.ModuleList(
            [
                nn.ModuleList([Block(low, low, True), Block(low, low), Block(low, low)]),
                nn.ModuleList(
                    [Block(low, middle)]
                    + [Block(middle, middle, attend_channels=i % 2 == 0) for i in range(6)]
                ),
                nn.ModuleList(
                    [Block(middle, high), Block(high, high, True), Block(high, high, pool=True)]
                ),
            ]
        )

    def forward(self, strips: Tensor, frames: Tensor | None) -> Tensor:
        valid_half: Tensor | None = None
        valid_quarter: Tensor | None = None
        if frames is not None:
            width = strips.shape[3]
            strips = masked(strips, valid_columns(frames, 8, width))
            valid_half = valid_columns(frames, 4, width // 2)
            valid_quarter = valid_columns(frames, 2, width // 4)
        features = self.stem(strips, valid_half)
        for stage in self.stages:
            for block in stage:
                features = block(features, valid_quarter)
        return features


class SelfAttention(nn.Module):
    """Multi-head attention of the frames of a strip to one another."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads: Final[int] = heads
        self.dropout: Final[float] = dropout
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)

    def forward(self, frames: Tensor, valid: Tensor | None) -> Tensor:
        n, length, channels = frames.shape
        qkv = self.query_key_value(frames).view(n, length, 3, self.heads, channels // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        dropout = self.dropout if self.training else 0.0
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=valid, dropout_p=dropout)
        return self.project(read.transpose(1, 2).reshape(n, length, channels))


class AttentionBlock(nn.Module):
    """A pre-norm Transformer block on frames (N, L, channels)."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(channels, eps=1e-5)
        self.attention = SelfAttention(channels, heads, dropout)
        self.mlp_norm = nn.LayerNorm(channels, eps=1e-5)
        self.expand = nn.Linear(channels, 2 * channels)
        self.project = nn.Linear(2 * channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor, valid: Tensor | None) -> Tensor:
        attended = self.attention(self.attention_norm(frames), valid)
        frames = frames + self.dropout(attended)
        mixed = self.project(self.dropout(F.silu(self.expand(self.mlp_norm(frames)))))
        return frames + self.dropout(mixed)


class ContextEncoder(nn.Module):
    """Lets every frame know its neighbours and its line: (N, 384, 1, L) to (N, L, channels).

    The light form of SVTR (Du et al., arXiv 2205.00159): a convolution along the line, then
    attention, beside a pointwise path around both.
    """

    def __init__(
        self, in_channels: int = 384, channels: int = 120, heads: int = 8, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(in_channels, channels, 1)
        self.reduce = nn.Conv2d(in_channels, channels, 1)
        self.neighbours = nn.Conv2d(channels, channels, (1, 7), padding=(0, 3), groups=channels)
        self.blocks = nn.ModuleList([AttentionBlock(channels, heads, dropout) for _ in range(2)])
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, features: Tensor, valid: Tensor | None) -> Tensor:
        shortcut = F.silu(self.shortcut(features))
        local = masked(F.silu(self.reduce(features)), valid)
        local = local + F.silu(self.neighbours(local))
        frames = local.squeeze(2).transpose(1, 2)
        for block in self.blocks:
            frames = block(frames, valid)
        return self.norm(frames) + shortcut.squeeze(2).transpose(1, 2)


class LineReader(nn.Module):
    """Strips of one text line each to CTC logits, one frame for every 8 px of width.

    Args:
        num_classes: 0 is the CTC blank, the others are the characters of the vocabulary.
        dropout: share of the attention encoder's activations dropped in training.
        width: times as many channels and attention heads as the packaged reader has.
    """

    def __init__(
        self, num_classes: int = NUM_READER_CLASSES, dropout: float = 0.0, width: int = 1
    ) -> None:
        super().__init__()
        self.width: Final[int] = width
        self.height: Final[int] = 48  # px of a strip
        self.pixels_per_frame: Final[int] = 8
        self.backbone = Backbone(width)
        self.encoder = ContextEncoder(384 * width, CHANNELS * width, 8 * width, dropout)
        self.head = nn.Linear(CHANNELS * width, num_classes)

    def forward(self, strips: Tensor, widths: Tensor | None = None) -> Tensor:
        """Logits (N, W/8, num_classes), before any softmax.

        Args:
            strips: (N, 1, 48, W) float in [-1, 1], 1 the white of paper, ink darker; W is a
                multiple of 8.
            widths: (N,) int64, px of each strip that hold its line; what lies to the right is
                not read. Counted in whole frames: ceil(width / 8), at least one, so a width that
                is no multiple of 8 reads up to 7 px more, which should be paper. Within its
                frames a strip's logits are those of the strip cut to them; the frames beyond
                mean nothing. None: all strips are read to their end.

        Raises:
            ValueError: the strips' height is not 48 px or their width no multiple of 8 px.
        """
        if strips.shape[2] != self.height or strips.shape[3] % self.pixels_per_frame != 0:
            raise ValueError("Give strips 48 px high and a multiple of 8 px wide.")
        frames: Tensor | None = None
        valid: Tensor | None = None
        if widths is not None:
            last = self.pixels_per_frame - 1
            frames = ((widths + last) // self.pixels_per_frame).clamp(min=1)
            valid = valid_columns(frames, 1, strips.shape[3] // self.pixels_per_frame)
        with record_function("backbone"):
            features = self.backbone(strips, frames)
        with record_function("encoder"):
            return self.head(self.encoder(features, valid))
