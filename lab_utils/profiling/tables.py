"""The tables of a profile, as rows of texts: the command prints them, a notebook can show them."""

from lab_utils.profiling.profile import TOO_LARGE, BatchFigures, Profile

Table = tuple[list[str], list[list[str]]]
"""Columns, and rows."""

NOTHING = "-"
_WITHIN_READER = ("backbone", "encoder")


def figures_table(profile: Profile) -> Table:
    """A row for each batch size; columns that say nothing of this device are left out."""
    figures = {
        "pages": [str(b.batch_size) for b in profile.batches],
        "p50 ms": [_ms(b.p50) if b.seconds else TOO_LARGE for b in profile.batches],
        "p95 ms": [_ms(b.p95) for b in profile.batches],
        "pages/s": [_number(b.pages_per_second) for b in profile.batches],
        "pages/user-s": [_number(b.pages_per_user_second) for b in profile.batches],
        "GPU s": [_number(b.device_seconds) for b in profile.batches],
        "threads busy": [_percent(b.cpu_utilization) for b in profile.batches],
        "GPU util.": [_percent(b.gpu_utilization) for b in profile.batches],
        "SM eff.": [_percent(b.sm_efficiency) for b in profile.batches],
        "occupancy": [_percent(b.achieved_occupancy) for b in profile.batches],
        "memory MiB": [_number(b.memory_bytes and b.memory_bytes / 2**20) for b in profile.batches],
    }
    used = {name: cells for name, cells in figures.items() if set(cells) != {NOTHING}}
    return list(used), [list(row) for row in zip(*used.values(), strict=True)]


def parts_table(profile: Profile) -> Table:
    """The share of a batch's time in each part of the model, a column for each batch size; what is
    within another part is indented."""
    batches = [batch for batch in profile.measured if batch.parts]
    names = dict.fromkeys(name for batch in batches for name in batch.parts)
    rows = [
        [f"  {name}" if name in _WITHIN_READER else name]
        + [_percent(batch.parts.get(name)) for batch in batches]
        for name in names
    ]
    return ["part", *[str(batch.batch_size) for batch in batches]], rows


def operators_table(batch: BatchFigures) -> Table:
    """The operators that took most of the processor's time in one batch."""
    window = batch.traced_seconds or 1.0
    return ["operator", "calls", "own ms", "share"], [
        [one.name, f"{one.calls:,}", _ms(one.self_seconds), _percent(one.self_seconds / window)]
        for one in batch.operators
    ]


def as_text(table: Table) -> str:
    """The table with its columns below each other: the first to the left, the others right."""
    columns, rows = table
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    lines = [
        [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in [columns, *rows]
    ]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _ms(seconds: float | None) -> str:
    return NOTHING if seconds is None else _number(1000 * seconds)


def _number(value: float | None) -> str:
    """Three digits, or the whole number where it has more."""
    if value is None:
        return NOTHING
    digits = 0 if value >= 99.5 else 1 if value >= 9.95 else 2
    return f"{value:,.{digits}f}"


def _percent(share: float | None) -> str:
    if share is None:
        return NOTHING
    return f"{100 * share:.0f} %" if share == 0 or share >= 0.0995 else f"{100 * share:.1f} %"
