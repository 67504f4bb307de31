"""Pages in, tokens out: finder, straightening and reader as one module for TorchScript.

How many lines there are depends on the picture, so a trace of it would be wrong for the next page;
`torch.jit.script` keeps the loops. One call reads any number of pages of different sizes.
"""

from typing import List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.profiler import record_function

from text_recognizer.models.line_finder import LineFinder
from text_recognizer.models.line_reader import LineReader
from text_recognizer.models.line_tracing import along_paths, trace_lines
from text_recognizer.models.normalization import normalize_page
from text_recognizer.models.strips import MARGIN, cut_strips, no_larger_than_strips
from text_recognizer.vocabulary import BLANK, IGNORED, NEWLINE, PADDING, TOKENS

# TorchScript reads these spellings on every Python that it supports.
# ruff: noqa: UP006, UP035, UP045

Found = Tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""The lines of a page: see `ParagraphReader.find_lines`."""

FORMAT = "text-recognizer/1"
PATH_POINTS = 16

SURE, HOPELESS = 0.93, 0.4
WEAKEST, SURE_OF_THEM = 3, 0.55
"""A second reading is for lines of less confidence than SURE if they are also less sure of their
WEAKEST characters (the mean of so many) than that: others it hardly changes. What has less than
HOPELESS is no writing, or upside down."""
LONG, SURE_OF_LONG = 800, 0.90
"""Strips wider than that (px) take long to read again: of these, it is for lines of less confidence
than SURE_OF_LONG."""
SECOND_MARGIN = 1.40
"""The margin of the second reading's strips: the same writing, seen a little smaller."""


class ParagraphReader(nn.Module):
    """A line finder and a line reader, and the way between them.

    The networks and the pictures stay on the device of the pages. Everything else is on the
    processor: it is small, and a GPU would have to wait for it thousands of times a page.

    Attributes of the script, for the code that loads it: `format` names this contract, `tokens` the
    string of each token id, `ignored` the ids that leave no trace in a text.
    """

    def __init__(
        self, finder: Optional[LineFinder] = None, reader: Optional[LineReader] = None
    ) -> None:
        super().__init__()
        self.finder = LineFinder() if finder is None else finder
        self.reader = LineReader() if reader is None else reader
        self.format: str = FORMAT
        self.tokens: List[str] = list(TOKENS)
        self.ignored: List[int] = list(IGNORED)
        self.blank: int = BLANK
        self.newline: int = NEWLINE
        self.padding: int = PADDING
        self.path_points: int = PATH_POINTS
        self.margin: float = MARGIN
        self.sure: float = SURE
        self.hopeless: float = HOPELESS
        self.long: int = LONG
        self.sure_of_long: float = SURE_OF_LONG
        self.weakest: int = WEAKEST
        self.sure_of_them: float = SURE_OF_THEM
        self.second_margin: float = SECOND_MARGIN

    def forward(self, pages: Tensor, sizes: Optional[Tensor] = None) -> Tensor:
        """The text of each page as token ids (B, S) int64, lines joined by the newline token.

        pages: (B, 1, H, W) uint8 gray, dark ink or light, padded at the right and the bottom with
        anything. sizes: (B, 2) int64 height and width in px of each page; None: all are whole.
        Rows are padded with the padding token; a blank page is only padding.

        What this and the other methods return is on the processor.
        """
        lines, line_page, _, _, _ = self.read_lines(pages, sizes)
        texts: List[Tensor] = []
        longest = 0
        newline = torch.full([1], self.newline, dtype=torch.long)
        for page in range(pages.size(0)):
            parts: List[Tensor] = []
            for line in range(lines.size(0)):
                if int(line_page[line]) == page:
                    if len(parts) > 0:
                        parts.append(newline)
                    tokens = lines[line]
                    parts.append(tokens[tokens != self.padding])
            text = torch.cat(parts) if len(parts) > 0 else newline[:0]
            longest = max(longest, text.size(0))
            texts.append(text)
        return self._padded(texts, longest)

    @torch.jit.export
    def read_lines(
        self, pages: Tensor, sizes: Optional[Tensor] = None
    ) -> Tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The lines of all pages, from the top of the first to the bottom of the last.

        Takes what `forward` takes. Returns token ids (N, T) int64, padded; the page (N,) int64 that
        each line is on; its confidence (N,) in [0, 1]; its path (N, 16, 2), x and y in px from the
        start of the writing to its end; the height (N,) in px of what was read along the path.
        Lines in which nothing could be read are left out.
        """
        found = self.find_lines(pages, sizes)
        tokens, _, page, confidence, paths, heights = self._lines(
            found, self._numbers(found), None, None
        )
        return tokens, page, confidence, paths, heights

    @torch.jit.export
    def read_twice(
        self, pages: Tensor, sizes: Optional[Tensor] = None
    ) -> Tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """What `read_lines` makes its tokens of, for who looks for the likeliest text; doubtful
        lines are read once more, from strips that show the writing smaller.

        Returns the log-probabilities (N, F, C) of the classes (token ids) in each frame, padded
        with frames that are surely blank; how many frames (N,) int64 a line has; the same two of
        the second reading, which has no frames where the first was sure; then page, confidence,
        path and height of the same lines as `read_lines` tells.
        """
        first: List[Tensor] = []
        second: List[Tensor] = []
        found = self.find_lines(pages, sizes)
        _, _, line_page, confidence, paths, heights = self._lines(
            found, self._numbers(found), first, second
        )
        frames, lengths = self._frames(first)
        again, again_lengths = self._frames(second)
        return frames, lengths, again, again_lengths, line_page, confidence, paths, heights

    @torch.jit.export
    def read_found(
        self, found_lines: List[Found], which: Tensor, twice: bool
    ) -> Tuple[List[Tensor], List[Tensor], Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Reads some of the lines that `find_lines` found: for who reads several at once.

        which: (M,) int64, rising: their numbers, counted over all pages.

        Returns, of the N lines in which something could be read, the tokens (T,) and no second
        readings; if `twice`, the log-probabilities (F, C) of the first and of the second reading.
        Then their numbers (N,) int64, and what `read_lines` says about them.
        """
        first: List[Tensor] = []
        second: List[Tensor] = []
        if twice:
            _, said, page, confidence, paths, heights = self._lines(
                found_lines, which, first, second
            )
        else:
            tokens, said, page, confidence, paths, heights = self._lines(
                found_lines, which, None, None
            )
            first.extend(tokens.unbind(0))
        return first, second, said, page, confidence, paths, heights

    def _numbers(self, found_lines: List[Found]) -> Tensor:
        """The numbers of all lines."""
        count = 0
        for _, path, _, _, _ in found_lines:
            count += path.size(0)
        return torch.arange(count)

    def _frames(self, lines: List[Tensor]) -> Tuple[Tensor, Tensor]:
        """Lines of frames (F, C) as one tensor (N, F, C), and how many (N,) each has."""
        classes = self.newline  # the reader tells the blank and the characters: all before it
        lengths = torch.zeros([len(lines)], dtype=torch.long)
        for line, own in enumerate(lines):
            lengths[line] = own.size(0)
        longest = int(lengths.max()) if len(lines) > 0 else 0
        padded = torch.full([len(lines), longest, classes], -1e4)
        padded[:, :, self.blank] = 0.0
        for line, own in enumerate(lines):
            padded[line, : own.size(0)] = own
        return padded, lengths

    def _lines(
        self,
        found_lines: List[Found],
        which: Tensor,
        first: Optional[List[Tensor]],
        second: Optional[List[Tensor]],
    ) -> Tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """What `read_lines` returns of some lines, and after the tokens their numbers (N,); puts
        the log-probabilities (F, C) of each line's first and second reading into `first` and
        `second`, where these are lists."""
        strips, widths = self._strips(found_lines, which, self.margin)
        tokens, confidence, weakest = self._read(strips, widths, first)
        said = (tokens != self.padding).any(1)
        if first is not None and second is not None:
            sure = torch.where(widths > self.long, self.sure_of_long, self.sure)
            doubtful = (confidence < sure) & (confidence > self.hopeless)
            doubtful = doubtful & (weakest < self.sure_of_them)
            self._read_again(found_lines, which, said & doubtful, second)
            every, every_again = list(first), list(second)
            first.clear()
            second.clear()
            for line in range(len(every)):
                if bool(said[line]):
                    first.append(every[line])
                    second.append(every_again[line])
        numbers = which[said]
        page, paths, heights = self._places(found_lines, numbers)
        return tokens[said], numbers, page, confidence[said], paths, heights

    def _places(self, found_lines: List[Found], which: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """Page, path and height of some lines, as `read_lines` tells them."""
        pages = [torch.zeros([0], dtype=torch.long)]
        paths = [torch.zeros([0, self.path_points, 2])]
        heights = [torch.zeros([0])]
        for page, own in self._by_page(found_lines, which):
            _, path, edges, reach, scale = found_lines[page]
            path, edges, reach = path[own], edges[:, own] * scale[0], reach[:, own] * scale[1]
            pages.append(torch.full([own.size(0)], page, dtype=torch.long))
            path = path * scale
            # The reach is not the same above and below: tell the middle of what was read.
            path[:, :, 1] += ((reach[1] - reach[0]) / 2)[:, None]
            paths.append(self._written_part(path, edges))
            heights.append(reach.sum(0) * self.margin)
        return torch.cat(pages), torch.cat(paths), torch.cat(heights)

    def _read_again(
        self,
        found_lines: List[Found],
        which: Tensor,
        wanted: Tensor,
        log_probs: List[Tensor],
    ) -> None:
        """Puts the log-probabilities (F, C) of a second reading of the `wanted` (M,) bool of some
        lines into `log_probs`, and an empty one for each other line."""
        strips, widths = self._strips(found_lines, which[wanted], self.second_margin)
        read: List[Tensor] = []
        self._read(strips, widths, read)
        nothing = torch.zeros([0, self.newline])
        taken = 0
        for line in range(wanted.size(0)):
            if bool(wanted[line]):
                log_probs.append(read[taken])
                taken += 1
            else:
                log_probs.append(nothing)

    def _strips(
        self, found_lines: List[Found], which: Tensor, margin: float
    ) -> Tuple[List[Tensor], Tensor]:
        """The strips (1, 48, width) of some lines, and their widths (M,) int64."""
        strips: List[Tensor] = []
        widths = [torch.zeros([0], dtype=torch.long)]
        for page, own in self._by_page(found_lines, which):
            ink, path, edges, reach, _ = found_lines[page]
            with record_function("straightening"):
                cut, width = cut_strips(
                    ink, path, edges[0], edges[1], reach[0], reach[1], margin=margin, which=own
                )
            for line in range(cut.size(0)):
                strips.append(cut[line, :, :, : int(width[line])])
            widths.append(width)
        return strips, torch.cat(widths)

    def _by_page(self, found_lines: List[Found], which: Tensor) -> List[Tuple[int, Tensor]]:
        """Each page that holds some of the lines, and their numbers (M,) among its own."""
        pages: List[Tuple[int, Tensor]] = []
        before = 0
        for page, found in enumerate(found_lines):
            count = found[1].size(0)
            own = which[(which >= before) & (which < before + count)] - before
            before += count
            if own.size(0) > 0:
                pages.append((page, own))
        return pages

    @torch.jit.export
    def find_lines(self, pages: Tensor, sizes: Optional[Tensor] = None) -> List[Found]:
        """For each page its ink (1, 1, H, W), as large as its strips are at most, and, of its N
        lines, in px of this ink: paths (N, P, 2), starts and ends (2, N), and reach above and below
        the path (2, N). Then (2,) how many px of the page one of the ink is, in x and y.

        The ink is on the device of the pages, the rest on the processor."""
        if sizes is not None:
            sizes = sizes.cpu()
        inks: List[Tensor] = []
        overviews: List[Tensor] = []
        for page in range(pages.size(0)):
            height, width = pages.size(2), pages.size(3)
            if sizes is not None:
                height, width = int(sizes[page, 0]), int(sizes[page, 1])
            with record_function("normalization"):
                ink, overview = normalize_page(pages[page : page + 1, :, :height, :width])
            inks.append(ink)
            overviews.append(overview)
        # A processor gains nothing by a batch, and pages of many shapes would be mostly padding.
        size = len(inks) if pages.is_cuda else 1
        found: List[Found] = []
        for first in range(0, len(inks), size):
            last = first + size
            with record_function("finder"):
                found.extend(self._find_in(inks[first:last], overviews[first:last]))
        return found

    def _find_in(self, inks: List[Tensor], overviews: List[Tensor]) -> List[Found]:
        """What `find_lines` tells, of pages whose overviews go through the finder in one batch."""
        device = inks[0].device
        tallest, widest = 1, 1
        for overview in overviews:
            tallest = max(tallest, overview.size(2))
            widest = max(widest, overview.size(3))
        row, column = self.finder.row, self.finder.column
        tallest = (tallest + row - 1) // row * row
        widest = (widest + column - 1) // column * column
        batch = torch.zeros([len(inks), 1, tallest, widest], device=device)
        shapes = torch.zeros([len(inks), 2], dtype=torch.long)
        for page, overview in enumerate(overviews):
            batch[page, :, : overview.size(2), : overview.size(3)] = overview[0]
            shapes[page, 0] = overview.size(2)
            shapes[page, 1] = overview.size(3)
        middle, above, below = self.finder(batch, shapes.to(device))
        middle, above, below = middle.cpu(), above.cpu(), below.cpu()
        found: List[Found] = []
        for page, overview in enumerate(overviews):
            rows = (overview.size(2) + row - 1) // row
            columns = (overview.size(3) + column - 1) // column
            path, edges, reach = self._lines_on_grid(
                middle[page, :rows, :columns].sigmoid(),
                above[page, :rows, :columns],
                below[page, :rows, :columns],
            )
            ink = inks[page]
            if path.size(0) > 0:
                on_page = reach * (row * ink.size(2) / overview.size(2))
                ink = no_larger_than_strips(ink, on_page[0], on_page[1])
            to_x = column * ink.size(3) / overview.size(3)  # px of the ink to a column
            to_y = row * ink.size(2) / overview.size(2)
            x = (torch.arange(columns) + 0.5) * to_x
            points = torch.stack([x[None].expand_as(path), path * to_y], dim=2)
            margin = 0.2 * reach.sum(0) * to_y
            starts = (edges[0] * to_x - margin).clamp_min(0.0)
            ends = ((edges[1] + 1) * to_x + margin).clamp_max(ink.size(3))
            scale = [inks[page].size(3) / ink.size(3), inks[page].size(2) / ink.size(2)]
            found.append(
                (ink, points, torch.stack([starts, ends]), reach * to_y, torch.tensor(scale))
            )
        return found

    def _lines_on_grid(
        self, middle: Tensor, above: Tensor, below: Tensor
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """Of the lines of one page: paths (N, columns) in rows, first and last column (2, N),
        reach above and below (2, N) in rows, as the mean along the writing."""
        paths, edges = trace_lines(middle, above + below)
        reaches: List[Tensor] = []
        for line in range(paths.size(0)):
            first, last = int(edges[line, 0]), int(edges[line, 1]) + 1
            path = paths[line : line + 1, first:last]
            up = along_paths(above[:, first:last], path).mean()
            down = along_paths(below[:, first:last], path).mean()
            reaches.append(torch.stack([up, down]))
        reach = torch.zeros([2, 0])
        if len(reaches) > 0:
            reach = torch.stack(reaches, dim=1)
        return paths, edges.t().float(), reach

    def _written_part(self, paths: Tensor, edges: Tensor) -> Tensor:
        """Paths (N, P, 2) cut to their writing and told in `path_points` points."""
        steps = torch.linspace(0, 1, self.path_points)
        x = edges[0][:, None] + (edges[1] - edges[0])[:, None] * steps
        first, last = paths[:, :1, 0], paths[:, -1:, 0]
        most = paths.size(1) - 1
        position = ((x - first) / (last - first).clamp_min(1e-6) * most).clamp(0.0, most)
        left = position.floor().long().clamp_max(max(most - 1, 0))
        right = (left + 1).clamp_max(most)
        y_left, y_right = paths[:, :, 1].gather(1, left), paths[:, :, 1].gather(1, right)
        return torch.stack([x, y_left + (y_right - y_left) * (position - left)], dim=2)

    def _read(
        self, strips: List[Tensor], widths: Tensor, log_probs: Optional[List[Tensor]]
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """Tokens (N, T), confidences (N,) and those of the weakest characters (N,) of strips
        (1, 48, width), read in batches of strips of about one width, so that little is padding. A
        processor gains nothing by a batch, and reads them one by one without any. `log_probs` is
        filled as `_lines` tells."""
        order = torch.argsort(widths)
        size = 64 if len(strips) > 0 and strips[0].is_cuda else 1
        lines: List[Tensor] = [widths] * len(strips)
        confidence = torch.zeros([len(strips)])
        weakest = torch.zeros([len(strips)])
        longest = 0
        if log_probs is not None:
            log_probs.extend(lines)
        for first in range(0, len(strips), size):
            chosen = order[first : first + size]
            own = widths[chosen]
            device = strips[0].device
            batch = torch.ones([chosen.size(0), 1, 48, int(own.max())], device=device)
            for row in range(chosen.size(0)):
                strip = strips[int(chosen[row])]
                batch[row, :, :, : strip.size(2)] = strip
            padded_to: Optional[Tensor] = None if size == 1 else own.to(device)
            with record_function("reader"):
                logits = self.reader(batch, padded_to).cpu()
            with record_function("decoding"):
                best, ids = logits.softmax(2).max(2)
                frames = torch.arange(ids.size(1))[None] < (own // 8)[:, None]
                before = F.pad(ids[:, :-1], [1, 0], value=float(self.blank))
                emitted = frames & (ids != self.blank) & (ids != before)
                for row in range(chosen.size(0)):
                    line = int(chosen[row])
                    here = emitted[row]
                    lines[line] = ids[row][here]
                    if log_probs is not None:
                        log_probs[line] = logits[row, : int(own[row]) // 8].log_softmax(1)
                    longest = max(longest, lines[line].size(0))
                    if bool(here.any()):
                        own_best = best[row][here]
                        confidence[line] = own_best.mean()
                        few = min(self.weakest, own_best.size(0))
                        weakest[line] = own_best.topk(few, largest=False)[0].mean()
        return self._padded(lines, longest), confidence, weakest

    def _padded(self, rows: List[Tensor], longest: int) -> Tensor:
        out = torch.full([len(rows), longest], self.padding, dtype=torch.long)
        for index, row in enumerate(rows):
            out[index, : row.size(0)] = row
        return out
