"""Typical mistakes in the exercises of notebook 02, and what the check must say about each."""

TRAINING_RUN = """
def training_run(artifact):
    {body}
"""

MAY_REPLACE = """
import math

def may_replace(candidate, production):
    {body}
"""

PUT_IN_PLACE = """
import hashlib
import os
from pathlib import Path

def put_in_place(pieces, sha256, target):
    {body}
"""

STAGED_FROM = """
def staged_from(data):
    {body}
"""

DELETABLE = """
def deletable(versions):
    {body}
"""

PROMOTE = """
import wandb

def promote(run, path, score, alias):
    artifact = wandb.Artifact("my-reader", type="{kind}", metadata={metadata})
    artifact.add_file(str(path))
    logged = run.log_artifact(artifact{aliases})
    logged.wait()
    return {result}
"""
FOUND = 'wandb.Api().artifact(f"{run.entity}/{run.project}/my-reader:latest")'
SCORE, GIVEN = '{"score": score}', ", aliases=[alias]"

WRONG_ANSWERS: dict[str, list[tuple[str, str]]] = {
    "promote": [
        (
            PROMOTE.format(kind="model", metadata=SCORE, aliases="", result=FOUND),
            "has no version of my-reader with the alias",
        ),
        (
            PROMOTE.format(kind="model", metadata="{}", aliases=GIVEN, result=FOUND),
            'keep the score 0.25 there, as "score"',
        ),
        (
            PROMOTE.format(kind="reader", metadata=SCORE, aliases=GIVEN, result=FOUND),
            'of the type .reader., not "model"|stopped with ValueError.*type',
        ),
        (
            PROMOTE.format(
                kind="model", metadata=SCORE, aliases=GIVEN, result=FOUND.replace("latest", "v0")
            ),
            "return what wandb.Api finds by the alias",
        ),
        (
            PROMOTE.format(kind="model", metadata=SCORE, aliases=GIVEN, result="logged.version"),
            "returned a str, not Artifact",
        ),
    ],
    "training_run": [
        (
            TRAINING_RUN.format(body="return artifact.logged_by().used_artifacts()[0].logged_by()"),
            "from reader:v0, training_run returned None, not the run t1.*stop there",
        ),
        (
            TRAINING_RUN.format(
                body="""run = artifact.logged_by()
    while run.job_type != "train":
        run = run.used_artifacts()[0].logged_by()
    return run"""
            ),
            "used a data set as well",
        ),
        (
            TRAINING_RUN.format(
                body="""run = artifact.logged_by()
    if run.job_type == "train":
        return run
    [model] = [one for one in run.used_artifacts() if one.type == "model"]
    return model.logged_by()"""
            ),
            r"came to the run q1 \(job_type quantize\), not t2",
        ),
        (
            TRAINING_RUN.format(
                body="""found = run = artifact.logged_by()
    while run:
        found = run
        models = [one for one in run.used_artifacts() if one.type == "model"]
        run = models[0].logged_by() if models else None
    return found"""
            ),
            "stop at the first training",
        ),
    ],
    "may_replace": [
        (
            MAY_REPLACE.format(
                body="""if production is None:
        return True
    return candidate["score"] > production["score"]"""
            ),
            "lower is better",
        ),
        (
            MAY_REPLACE.format(
                body="""if not candidate.get("score"):
        return False
    return production is None or candidate["score"] < production["score"]"""
            ),
            "0 is false in Python",
        ),
        (
            MAY_REPLACE.format(
                body="""new, old = candidate.get("score"), (production or {}).get("score")
    if new is None:
        return False
    return not (old is not None and new >= old)"""
            ),
            "the candidate's score is NaN",
        ),
        (
            MAY_REPLACE.format(
                body="""new, old = candidate.get("score"), (production or {}).get("score")
    if new is None or math.isnan(new):
        return False
    return old is None or math.isnan(old) or new < old"""
            ),
            "different validation lines",
        ),
    ],
    "put_in_place": [
        (
            PUT_IN_PLACE.format(
                body="""data = b"".join(pieces)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError("wrong digest")
    return target.write_bytes(data)"""
            ),
            "keep none in memory",
        ),
        (
            PUT_IN_PLACE.format(
                body="""hashed, size = hashlib.sha256(), 0
    with target.open("wb") as file:
        for piece in pieces:
            hashed.update(piece)
            size += file.write(piece)
    if hashed.hexdigest() != sha256:
        raise ValueError("wrong digest")
    return size"""
            ),
            "only right bytes may replace it",
        ),
        (
            PUT_IN_PLACE.format(
                body="""size, partial = 0, Path(f"{target}.part")
    with partial.open("wb") as file:
        for piece in pieces:
            size += file.write(piece)
    os.replace(partial, target)
    return size"""
            ),
            "one bit of 4 MiB is wrong.*raise ValueError there",
        ),
    ],
    "staged_from": [
        (
            STAGED_FROM.format(
                body="""return sorted(
        staged.name
        for training in data.used_by()
        for model in training.logged_artifacts()
        for staging in model.used_by()
        for staged in staging.logged_artifacts()
    )"""
            ),
            "type prod-ready|until nothing new",
        ),
        (
            STAGED_FROM.format(
                body="""names = []
    for run in data.used_by():
        for one in run.logged_artifacts():
            names += [one.name] if one.type == "prod-ready" else staged_from(one)
    return sorted(names)"""
            ),
            "each staged model counts once",
        ),
        (
            STAGED_FROM.format(
                body="""found, waiting = set(), [data]
    for one in waiting:
        for run in one.used_by():
            for made in run.logged_artifacts():
                waiting.append(made)
                found.add(made.name)
    return sorted(found)"""
            ),
            "type prod-ready|not \\['staged:v0'\\]",
        ),
        (
            STAGED_FROM.format(
                body="""found, waiting = set(), [data]
    for one in waiting:
        for run in one.used_by():
            waiting += run.logged_artifacts()
    return [one for one in waiting if one.type == "prod-ready"]"""
            ),
            "return their names",
        ),
    ],
    "deletable": [
        (
            DELETABLE.format(body="return [one.name for one in versions if not one.aliases]"),
            "would delete pages:v0, reader:v1, which is needed",
        ),
        (
            DELETABLE.format(
                body="""needed = [one for one in versions if "production" in one.aliases]
    for one in needed:
        run = one.logged_by()
        needed += run.used_artifacts() if run else []
    names = {one.name for one in needed}
    return [one.name for one in versions if one.name not in names]"""
            ),
            "would delete pages:v1, which is needed",
        ),
        (
            DELETABLE.format(
                body="""needed = [one for one in versions if one.aliases]
    for one in list(needed):
        run = one.logged_by()
        needed += run.used_artifacts() if run else []
    names = {one.name for one in needed}
    return [one.name for one in versions if one.name not in names]"""
            ),
            "would delete pages:v0, which is needed",
        ),
        (
            DELETABLE.format(
                body="""needed = [one for one in versions if one.aliases]
    for one in needed:
        run = one.logged_by()
        needed += run.used_artifacts() if run else []
    return [one.name for one in versions if one not in needed]"""
            ),
            "which is needed",
        ),
    ],
}

WRONG_ANSWERS["training_run"].append(
    (
        """
def training_run(artifact):
    run = artifact.logged_by()
    while run is not None and run.job_type != "train":
        models = [one for one in run.used_artifacts() if one.type == "model"]
        run = models[0].logged_by() if models else None
    if run is None:
        raise LookupError
    return run
""",
        "stopped with LookupError|whatever its type",
    )
)
WRONG_ANSWERS["may_replace"].append(
    (
        MAY_REPLACE.format(
            body="""new, old = candidate.get("score"), (production or {}).get("score")
    if new is None or math.isnan(new):
        return False
    if production is None:
        return True
    if candidate["data"] != production["data"]:
        return False
    return old is None or math.isnan(old) or new < old"""
        ),
        "the row about production without a score comes before",
    )
)
DOWNLOAD = """
import hashlib, tempfile
from pathlib import Path

def put_in_place(pieces, sha256, target):
    hashed, size = hashlib.sha256(), 0
    {part}
    try:
        with part.open("wb") as file:
            for piece in pieces:
                hashed.update(piece)
                size += file.write(piece)
        if hashed.hexdigest() != sha256:
            raise ValueError("wrong digest")
        {replace}
    except {caught}:
        part.unlink(missing_ok=True)
        raise
    return size
"""
PART = "part = Path(tempfile.mkstemp(dir=target.parent)[1])"
WRONG_ANSWERS["put_in_place"] += [
    (
        DOWNLOAD.format(
            part=PART,
            replace="target.unlink(missing_ok=True); part.rename(target)",
            caught="BaseException",
        ),
        "for a moment there was no file",
    ),
    (
        DOWNLOAD.format(part=PART, replace="part.replace(target)", caught="Exception"),
        "where somebody presses Ctrl-C, .* is left beside the target",
    ),
    (
        DOWNLOAD.format(
            part='part = target.with_suffix(".part")',
            replace="part.replace(target)",
            caught="BaseException",
        ),
        "another download of the same file",
    ),
]
