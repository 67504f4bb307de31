"""The tables of a profile, as rows of texts: the command prints them, a notebook can show them."""

from lab_utils.profiling.profile import TOO_LARGE, BatchFigures, Profile

Table = tuple[list[str], list[list[str]]]
"""Columns, and rows."""

NOTHING = "-"
_WITHIN_READER = ("backbone", "encoder")


def figures_table(profile: Profile) -> Table:
    """A row for each batch size; columns that say nothing of this device are left out."""
    columns = {
        "pages": lambda b: str(b.batch_size),
        "p50 ms": lambda b: _ms(b.p50),
        "p95 ms": lambda b: _ms(b.p95),
        "pages/s": lambda b: _number(b.pages_per_second),
        "pages/user-s": lambda b: _number(b.pages_per_user_second),
        "GPU s": lambda b: _number(b.device_seconds),
        "threads busy": lambda b: _percent(b.cpu_utilization),
        "GPU util.": lambda b: _percent(b.gpu_utilization),
        "SM eff.": lambda b: _percent(b.sm_efficiency),
        "occupancy": lambda b: _percent(b.achieved_occupancy),
        "memory MiB": lambda b: _number(b.memory_bytes and b.memory_bytes / 2**20),
    }
    rows = [[text(batch) for text in columns.values()] for batch in profile.batches]
    used = [any(row[i] != NOTHING for row in rows) for i in range(len(columns))]
    for row, batch in zip(rows, profile.batches, strict=True):
        if not batch.seconds:
            row[1] = TOO_LARGE
    return (
        [name for name, keep in zip(columns, used, strict=True) if keep],
        [[text for text, keep in zip(row, used, strict=True) if keep] for row in rows],
    )


def parts_table(profile: Profile) -> Table:
    """The share of a batch's time in each part of the model, a column for each batch size; what is
    within another part is indented."""
    batches = [batch for batch in profile.measured if batch.parts]
    names = list(dict.fromkeys(name for batch in batches for name in batch.parts))
    return (
        ["part", *[str(batch.batch_size) for batch in batches]],
        [
            [
                f"  {name}" if name in _WITHIN_READER else name,
                *[_percent(batch.parts.get(name)) for batch in batches],
            ]
            for name in names
        ],
    )


def operators_table(batch: BatchFigures) -> Table:
    """The operators that took most of the processor's time in one batch."""
    window = batch.traced_seconds or 1.0
    has_gpu = batch.device_seconds is not None
    columns = ["operator", "calls", "own ms", "share", *["GPU ms"] * has_gpu]
    return columns, [
        [
            one.name,
            f"{one.calls:,}",
            _ms(one.self_seconds),
            _percent(one.self_seconds / window),
            *[_ms(one.device_seconds)] * has_gpu,
        ]
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
