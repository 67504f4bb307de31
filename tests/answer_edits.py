"""Wrong answers as edits of a right one."""


def edited(code: str, *changes: tuple[str, str]) -> str:
    """The code with each change (what stands there once, what then stands there)."""
    for old, new in changes:
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    return code
