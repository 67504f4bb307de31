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
            "has no version of my-reader with the alias",
        ),
        ('{"score": score}', "{}", 'keep the score 0.25 there, as "score"'),
        ('type="model"', 'type="reader"', 'type .reader., not "model"|stopped with ValueError'),
        ("my-reader:{alias}", "my-reader:v0", "return what wandb.Api finds by the alias"),
        (
            "my-reader:{alias}",
            "my-reader:latest",
            'latest")',
            'latest").version',
            "returned a str, not Artifact",
        ),
    ],
    "training_run": [
        (
            "def training_run(artifact):\n"
            "    return artifact.logged_by().used_artifacts()[0].logged_by()",
            "from reader:v0, training_run returned None",
        ),
        (' if one.type != "dataset"', "", "used a data set as well"),
        (
            ' if one.type != "dataset"',
            "",
            "parents[0]",
            "parents[-1]",
            "used a data set as well, after the model",
        ),
        (
            'while run is not None and run.job_type != "train"',
            'if run.job_type != "train"',
            "returned <run q1, job_type quantize>, not t2",
        ),
        (
            'one.type != "dataset"',
            'one.type == "model"',
            "from small:v0, training_run stopped with LookupError|whatever its type",
        ),
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
    ],
    "may_replace": [
        ("new < old", "new > old", "lower is better"),
        ("if new is None or", "if not new or", "0 is false in Python"),
        (
            "    if new is None or math.isnan(new):",
            "    if new is None:",
            "return same_lines and new < old",
            "return same_lines and not new >= old",
            "the candidate's score is NaN",
        ),
        ("return same_lines and new < old", "return new < old", "different validation lines"),
        (
            "    if production is None or old is None or math.isnan(old):\n        return True\n",
            "    if production is None:\n        return True\n",
            "return same_lines and new < old",
            "return same_lines and (old is None or math.isnan(old) or new < old)",
            "the row about production without a score comes before",
        ),
    ],
    "put_in_place": [
        (
            "for piece in pieces:",
            'for piece in [b"".join(pieces)]:',
            "keep none in memory",
        ),
        (
            """
import hashlib

def put_in_place(pieces, sha256, target):
    hashed, size = hashlib.sha256(), 0
    with target.open("wb") as file:
        for piece in pieces:
            hashed.update(piece)
            size += file.write(piece)
    if hashed.hexdigest() != sha256:
        raise ValueError("wrong digest")
    return size
""",
            "only right bytes may replace it",
        ),
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
            "finally:\n        partial.unlink(missing_ok=True)",
            "except Exception:\n        partial.unlink(missing_ok=True)\n        raise",
            "if somebody presses Ctrl-C, .* is left beside the target",
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
    return sorted(
        staged.name
        for training in data.used_by()
        for model in training.logged_artifacts()
        for staging in model.used_by()
        for staged in staging.logged_artifacts()
    )
""",
            "from pages:v1, .*follow until nothing new comes",
        ),
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
            """
def staged_from(data):
    waiting = [data]
    for one in waiting:
        for run in one.used_by():
            waiting += run.logged_artifacts()
    return [one for one in waiting if one.type == "prod-ready"]
""",
            "return the names",
        ),
        (
            "waiting.append(made)",
            'made.type == "dataset" or waiting.append(made)',
            "another data set was made from it",
        ),
    ],
    "deletable": [
        (
            "    while waiting:",
            "    while False:",
            r"returned \['pages:v0', .*, which has an alias, descends from is needed",
        ),
        (
            "if one.aliases]",
            'if "production" in one.aliases]',
            "returned .*'pages:v1'",
        ),
        (
            "waiting.append(parent)",
            "pass",
            "returned .*'pages:v0'",
        ),
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
