"""The paragraph recognizer of the lab that this one re-creates, to be timed beside ours.

Full Stack Deep Learning 2022's `ResnetTransformer`: a ResNet-18 without its pooling and its
classifier (He et al., arXiv 1512.03385), a 1x1 convolution to 256 channels, two-dimensional
positions as in Singh and Karayev (arXiv 2103.06450), and a Transformer decoder of 4 layers with
4 heads that writes one character a step and computes all earlier ones again in every step.
The weights are random: they change what is written, and not how long a character takes.
"""

import math
import warnings

import torch
from torch import Tensor, nn

PAGE_HEIGHT, PAGE_WIDTH = 576, 640  # px: a page of IAM (1152 x 1280) at half its size
NUM_CLASSES = 84  # EMNIST's characters, four special tokens and the newline
START, END, PADDING = 1, 2, 3
MAX_OUTPUT_LENGTH = 684  # the longest paragraph of IAM, with its start and its end
DIM, FEED_FORWARD, LAYERS, HEADS = 256, 1024, 4, 4


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet18_trunk() -> nn.Sequential:
    """ResNet-18 up to its last stage: (B, 3, H, W) -> (B, 512, H / 32, W / 32)."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, padding=3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, padding=1),
    ]
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers)


def sinusoids(length: int, dim: int) -> Tensor:
    """Sine and cosine of each position at falling frequencies: (length, dim)."""
    position = torch.arange(length).unsqueeze(1)
    frequency = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    table = torch.zeros(length, dim)
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency)
    return table


class OriginalParagraphReader(nn.Module):
    """Encoder, decoder and greedy decoding in one module, as the lab scripted it."""

    def __init__(self, max_output_length: int = MAX_OUTPUT_LENGTH) -> None:
        super().__init__()
        self.start, self.end, self.padding = START, END, PADDING  # a script sees no globals
        self.scale = math.sqrt(DIM)
        self.trunk = resnet18_trunk()
        self.projection = nn.Conv2d(512, DIM, kernel_size=1)
        self.embedding = nn.Embedding(NUM_CLASSES, DIM)
        layer = nn.TransformerDecoderLayer(DIM, HEADS, FEED_FORWARD, dropout=0.4)
        self.decoder = nn.TransformerDecoder(layer, LAYERS)
        self.classifier = nn.Linear(DIM, NUM_CLASSES)

        rows, columns = PAGE_HEIGHT // 32, PAGE_WIDTH // 32
        by_row = sinusoids(rows, DIM // 2).T[:, :, None].expand(-1, rows, columns)
        by_column = sinusoids(columns, DIM // 2).T[:, None, :].expand(-1, rows, columns)
        self.register_buffer("page_positions", torch.cat([by_row, by_column]))
        self.register_buffer("text_positions", sinusoids(max_output_length, DIM).unsqueeze(1))
        future = torch.ones(max_output_length, max_output_length, dtype=torch.bool).triu(1)
        self.register_buffer("future", future)

    def encode(self, pages: Tensor) -> Tensor:
        """(B, 1, 576, 640) in [0, 1] -> (360, B, 256), one vector for each 32 x 32 px."""
        features = self.projection(self.trunk(pages.repeat(1, 3, 1, 1)))
        return (features + self.page_positions).flatten(2).permute(2, 0, 1)

    def decode(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Logits (T, B, 84) of what follows each of the tokens (B, T)."""
        length = tokens.shape[1]
        y = self.embedding(tokens.t()) * self.scale + self.text_positions[:length]
        y = self.decoder(
            y,
            memory,
            tgt_mask=self.future[:length, :length],
            tgt_key_padding_mask=tokens == self.padding,
        )
        return self.classifier(y)

    def forward(self, pages: Tensor, length: int) -> Tensor:
        """Token ids (B, 1 + length): the start and `length` characters of each page, at most."""
        memory = self.encode(pages)
        tokens = torch.full((pages.shape[0], length + 1), self.padding, device=pages.device)
        tokens[:, 0] = self.start
        for step in range(1, length + 1):
            written = self.decode(memory, tokens[:, :step])[-1].argmax(dim=-1)
            tokens[:, step] = written
            if bool(((written == self.end) | (written == self.padding)).all()):
                break
        return tokens


def scripted_original(longest: int = MAX_OUTPUT_LENGTH, seed: int = 0) -> torch.jit.ScriptModule:
    """The TorchScript module with random weights that never ends a text before its `length`.

    The logits of end and padding are pushed down, so the early stop is computed and never taken.
    `longest`: the most characters that it will be asked for.
    """
    torch.manual_seed(seed)
    model = OriginalParagraphReader(max(longest + 1, MAX_OUTPUT_LENGTH)).eval()
    with torch.no_grad():
        model.classifier.bias[[END, PADDING]] = -1e4
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
        return torch.jit.script(model)
