"""Finds words that were crossed out with several strokes, and shows a view without them.

The reader reads through a stroke or two, or takes them for a "#". On paper such a word has what no
letters have: long level strokes close above each other.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F

from text_recognizer.views import View
from text_recognizer.views.ink import running_max, to_picture, to_tensor

HEIGHT = 48.0  # px of a line in the picture that is looked at
DARK = 0.3  # of the paper's light: a stroke takes as much
STROKE = 45  # px, odd: the shortest of such strokes
REACH = 25  # px, odd: how far the first one is from the last, at most
SOLID = 9  # px, odd: strokes that lie on each other are as thick
WORD, GAP = 61, 41  # px, odd: what is left out, in height; what lies in it between two finds


def without_crossed_out(view: View, height: float) -> View:
    """The view with paper where words were crossed out; the view itself if none was.

    height: px of a line; 0 if there is none.
    """
    if height == 0:
        return view
    scale = HEIGHT / height
    size = max(round(view.page.width * scale), 8), max(round(view.page.height * scale), 8)
    seen = view.seen
    gray = to_tensor(view.page.resize(size))
    gray = 255 - gray if seen.inverted else gray
    paper = F.interpolate(seen.paper[None, None], size=list(gray.shape))[0, 0]
    ink = (gray < (1 - DARK) * paper).float()
    # A px higher or lower is the same stroke: no hand is level.
    runs = -running_max(-running_max(ink, 3, 0), STROKE, 1)
    strokes = running_max(runs, STROKE, 1) > 0
    tops = strokes & ~F.pad(strokes, [0, 0, 1, 0])[:-1]
    count = F.avg_pool2d(tops.float()[None, None], (REACH, 1), 1, (REACH // 2, 0))[0, 0] * REACH
    solid = -running_max(-strokes.float(), SOLID, 0)
    crossed = torch.maximum(solid, (count > 1.5).float())
    if not bool(crossed.any()):
        return view
    high = running_max(crossed, WORD, 0)
    whole = -running_max(-running_max(high, GAP, 1), GAP, 1)
    left_out = running_max(whole, 7, 1)
    full = F.interpolate(left_out[None, None], size=view.page.size[::-1])[0, 0] > 0
    pixels = to_tensor(view.page)
    page = to_picture(torch.where(full, pixels.median(), pixels))
    return replace(view, page=page, known=None)
