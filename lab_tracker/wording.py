"""How numbers of things are written in English. Standard library only: `lab doctor` says such."""


def counted(count: int, noun: str) -> str:
    """`1 run`, `2 runs`; for nouns whose plural ends in an s."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
