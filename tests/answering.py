"""What the tables of wrong answers share."""


def filled(template: str, *cases: tuple[str, str]) -> list[tuple[str, str]]:
    """Wrong answers that differ only in the body of a function.

    Args:
        template: the code, with `{body}` in it.
        cases: a body, and what the check's message must match.
    """
    return [(template.format(body=body), expected) for body, expected in cases]
