"""Right answers to the exercises of notebook 03 in other styles than the official one."""

RIGHT_ANSWERS: dict[str, list[str]] = {
    "gray_page": [
        """
from PIL import Image, ImageOps

def gray_page(image):
    upright = ImageOps.exif_transpose(image).convert("RGBA")
    page = Image.new("RGB", upright.size, (255, 255, 255))
    page.paste(upright, mask=upright.getchannel("A"))
    return page.convert("L")
""",
        """
from PIL import ImageOps

def gray_page(image):
    upright = ImageOps.exif_transpose(image)
    pixels = np.asarray(upright.convert("LA"), dtype=float)
    level, alpha = pixels[..., 0], pixels[..., 1] / 255
    return Image.fromarray((level * alpha + 255 * (1 - alpha)).round().astype(np.uint8))
""",
        """
from PIL import ImageOps

def on_paper(image):
    gray, alpha = image.convert("LA").split()
    return Image.composite(gray, Image.new("L", image.size, 255), alpha)

def gray_page(image):
    return on_paper(ImageOps.exif_transpose(image.copy()))
""",
    ],
    "paper_of": [
        """
def paper_of(page, size=25):
    half = size // 2
    wide = F.pad(page, (half,) * 4, value=float("-inf"))
    brightest = wide.unfold(2, size, 1).unfold(3, size, 1).amax((-1, -2))
    ones = torch.ones(1, 1, size, size)
    total = F.conv2d(brightest, ones, padding=half)
    return total / F.conv2d(torch.ones_like(page), ones, padding=half)
""",
        """
def paper_of(page, size=25):
    pad = size // 2
    brightest = torch.nn.MaxPool2d(size, stride=1, padding=pad)(page)
    return torch.nn.AvgPool2d(size, stride=1, padding=pad, count_include_pad=False)(brightest)
""",
        """
def paper_of(page, size=25):
    r = size // 2
    def pooled(values, pool):
        def at(y, x):
            return pool(values[max(y - r, 0) : y + r + 1, max(x - r, 0) : x + r + 1])
        h, w = values.shape
        return np.array([[at(y, x) for x in range(w)] for y in range(h)])
    brightest = pooled(np.asarray(page[0, 0]), np.max)
    return torch.from_numpy(pooled(brightest, np.mean))[None, None].float()
""",
    ],
    "lines_in_column": [
        """
def lines_in_column(column, least=0.4):
    padded = np.pad(column.numpy(), 1)
    here = padded[1:-1]
    peaks = (here >= least) & (here > padded[:-2]) & (here >= padded[2:])
    return list(np.flatnonzero(peaks))
""",
        """
def lines_in_column(column, least=0.4):
    zero = torch.zeros(1)
    up, down = torch.cat([zero, column[:-1]]), torch.cat([column[1:], zero])
    return torch.nonzero((column >= least) & (column > up) & (column >= down)).flatten().tolist()
""",
        """
def lines_in_column(column, least=0.4):
    rows, n = [], len(column)
    for r in range(n):
        above = column[r - 1] if r else 0
        below = column[r + 1] if r + 1 < n else 0
        if not (column[r] < least or column[r] <= above or column[r] < below):
            rows.append(torch.tensor(r))
    return tuple(rows)
""",
    ],
    "strip_grid": [
        """
def strip_grid(path, reach, height, page_size):
    rows = torch.linspace(-reach + reach / height, reach - reach / height, height)
    places = path[None].repeat(height, 1, 1)
    places[..., 1] += rows[:, None]
    return (2 * places / torch.tensor([page_size[1], page_size[0]]) - 1).unsqueeze(0)
""",
        """
def strip_grid(path, reach, height, page_size):
    h, w = page_size
    grid = np.empty((1, height, len(path), 2))
    for row in range(height):
        grid[0, row, :, 0] = path[:, 0].numpy() / (w / 2) - 1
        y = path[:, 1].numpy() - reach + (row + 0.5) * 2 * reach / height
        grid[0, row, :, 1] = y / (h / 2) - 1
    return torch.from_numpy(grid)
""",
        """
def strip_grid(path, reach, height, page_size):
    h, w = page_size
    offsets = (torch.arange(height) * 2 + 1 - height) * reach / height
    y, x = torch.broadcast_tensors(path[:, 1] + offsets[:, None], path[:, 0])
    return torch.stack((x / w, y / h), -1).mul(2).sub(1)[None]
""",
    ],
    "greedy_decode": [
        """
import itertools

def greedy_decode(classes, blank=0):
    return [one for one, _ in itertools.groupby(classes) if one != blank]
""",
        """
def greedy_decode(classes, blank=0):
    if not classes:
        return ()
    values = np.array(classes)
    new = np.concatenate([[True], values[1:] != values[:-1]])
    return tuple(values[new & (values != blank)])
""",
        """
def greedy_decode(classes, blank=0):
    if not classes:
        return []
    rest = greedy_decode(classes[:-1], blank)
    repeated = len(classes) > 1 and classes[-2] == classes[-1]
    return rest if repeated or classes[-1] == blank else rest + [classes[-1]]
""",
    ],
    "character_error_rate": [
        """
from functools import cache

def character_error_rate(reading, label):
    @cache
    def edits(i, j):
        if not i or not j:
            return i + j
        other = reading[i - 1] != label[j - 1]
        return min(edits(i - 1, j) + 1, edits(i, j - 1) + 1, edits(i - 1, j - 1) + other)
    return edits(len(reading), len(label)) / (len(label) or 1)
""",
        """
def character_error_rate(reading, label):
    table = np.zeros((len(reading) + 1, len(label) + 1), int)
    table[0], table[:, 0] = np.arange(len(label) + 1), np.arange(len(reading) + 1)
    for i in range(1, len(reading) + 1):
        for j in range(1, len(label) + 1):
            change = table[i - 1, j - 1] + (reading[i - 1] != label[j - 1])
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, change)
    return np.divide(table[-1, -1], max(1, len(label)))
""",
        """
import torchmetrics.functional.text

def character_error_rate(reading, label):
    if not label:
        return len(reading)
    return torchmetrics.functional.text.char_error_rate([reading], [label])
""",
    ],
}
