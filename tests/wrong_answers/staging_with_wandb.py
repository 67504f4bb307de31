"""Typical mistakes in the exercises of notebook 02, and what the check must say about each.

Most are parts of the official solution, and what takes the place of each; the others are code.
"""

WRONG_ANSWERS: dict[str, list[tuple[str, ...]]] = {
    "promote": [
        (
            ", aliases=[alias]",
            "",
            "my-reader:{alias}",
            "my-reader:latest",
            "has no version of my-reader",
        ),
        ('{"score": score}', "{}", 'keep the score 0.25 there, as "score"'),
        ('type="model"', 'type="reader"', 'type .reader., not "model"|stopped with ValueError'),
        ("my-reader:{alias}", "my-reader:v0", "return what wandb.Api finds by the alias"),
    ],
    "training_run": [
        (' if one.type != "dataset"', "", "used a data set as well"),
        (
            'while run is not None and run.job_type != "train"',
            'if run.job_type != "train"',
            "returned <run q1",
        ),
        ('one.type != "dataset"', 'one.type == "model"', "LookupError|whatever its type"),
        ('run.job_type != "train"', '"train" not in run.job_type', "small:v0"),
        (
            """
def training_run(artifact):
    found = run = artifact.logged_by()
    while run:
        found = run
        models = [one for one in run.used_artifacts() if one.type == "model"]
        run = models[0].logged_by() if models else None
    return found
""",
            "stop at the first training",
        ),
        (
            'raise LookupError(f"No training is on record behind {artifact.name}.")',
            "raise LookupError",
            "with a sentence",
        ),
    ],
    "may_replace": [
        ("new < old", "new > old", "lower is better"),
        ("if new is None or", "if not new or", "0 is false in Python"),
        ("return same_lines and new < old", "return new < old", "different validation lines"),
        (
            "return same_lines and new < old",
            'return candidate["data"] == production["data"] and new < old',
            "lower is better",
        ),
        (
            "    if production is None or old is None or math.isnan(old):\n        return True\n",
            "    if production is None:\n        return True\n",
            "return same_lines and new < old",
            "return same_lines and (old is None or math.isnan(old) or new < old)",
            "the row about production without a score comes before",
        ),
    ],
    "put_in_place": [
        ("for piece in pieces:", 'for piece in [b"".join(pieces)]:', "keep none in memory"),
        (
            "if hashed.hexdigest() != sha256:",
            "if False:",
            "one bit of 4 MiB is wrong.*raise ValueError there",
        ),
        (
            "partial.replace(target)",
            "target.unlink(missing_ok=True); partial.rename(target)",
            "for a moment there was no file",
        ),
        (
            "partial.replace(target)",
            "target.write_bytes(partial.read_bytes())",
            "the bytes of the old file were written over",
        ),
        (
            "    hashed,",
            "    digest = hashlib.sha256(b''.join(pieces))\n    hashed,",
            "over the pieces twice|keep none in memory",
        ),
        (
            "finally:\n        partial.unlink(missing_ok=True)",
            "except Exception:\n        partial.unlink(missing_ok=True)\n        raise",
            "if somebody presses Ctrl-C",
        ),
        (
            "partial = Path(file.name)",
            'Path(file.name).unlink()\n    partial = target.with_suffix(".part")',
            "another download of the same file",
        ),
    ],
    "staged_from": [
        (
            """
def staged_from(data):
    names = []
    for run in data.used_by():
        for one in run.logged_artifacts():
            names += [one.name] if one.type == "prod-ready" else staged_from(one)
    return sorted(names)
""",
            "each counts once",
        ),
        (' if type == "prod-ready"', "", "type prod-ready"),
        (
            "waiting.append(made)",
            'made.type == "dataset" or waiting.append(made)',
            "another data set was made from it",
        ),
    ],
    "deletable": [
        ("if one.aliases]", 'if "production" in one.aliases]', "returned .*'pages:v1'"),
        (
            """
def deletable(versions):
    needed = [one for one in versions if one.aliases]
    for one in needed:
        run = one.logged_by()
        needed += run.used_artifacts() if run else []
    return [one.name for one in versions if one not in needed]
""",
            "which has an alias, descends from is needed",
        ),
        (
            "run.used_artifacts() if run else ()",
            "(run.used_artifacts() if run else [])[:1]",
            "walk until nothing new comes",
        ),
    ],
}
