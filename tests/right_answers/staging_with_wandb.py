"""Right answers to the exercises of notebook 02 in other styles than the official one."""

RIGHT_ANSWERS: dict[str, list[str]] = {
    "promote": [
        """
def promote(run, path, score, alias):
    artifact = wandb.Artifact(name="my-reader", type="model")
    artifact.metadata["score"] = score
    artifact.add_file(local_path=path, name=path.name)
    logged = run.log_artifact(artifact)
    logged.wait()
    logged.aliases.append(alias)
    logged.save()
    return wandb.Api().artifact("/".join([run.entity, run.project, f"my-reader:{alias}"]))
""",
        """
def promote(run, path, score, alias):
    made = wandb.Artifact("my-reader", "model", metadata=dict(score=score))
    with made.new_file(path.name, mode="wb") as file:
        file.write(path.read_bytes())
    run.log_artifact(made, aliases=["latest", alias])
    made.wait()
    return wandb.Api().artifact(f"{run.entity}/{run.project}/my-reader:{alias}", type="model")
""",
        """
def promote(run, path, score, alias):
    logged = run.log_artifact(str(path), name="my-reader", type="model", aliases=[alias]).wait()
    logged.metadata = {"score": score}
    logged.save()
    api = wandb.Api(overrides={"entity": run.entity, "project": run.project})
    return api.artifact(f"my-reader:{alias}")
""",
    ],
    "training_run": [
        """
def training_run(artifact):
    run = artifact.logged_by()
    if run is None:
        raise LookupError(f"nobody knows who logged {artifact.qualified_name}")
    if run.job_type == "train":
        return run
    for parent in run.used_artifacts():
        if parent.type != "dataset":
            return training_run(parent)
    raise LookupError(f"{run.id} used no model")
""",
        """
def training_run(artifact):
    while artifact is not None:
        run = artifact.logged_by()
        if run and run.job_type == "train":
            return run
        parents = run.used_artifacts(per_page=50) if run else []
        artifact = next((a for a in parents if "dataset" not in a.type), None)
    raise KeyError("no training")
""",
        """
def training_run(artifact):
    waiting = [artifact]
    while waiting:
        run = waiting.pop().logged_by()
        if run and run.job_type == "train":
            return run
        waiting += [one for one in (run.used_artifacts() if run else []) if one.type != "dataset"]
    raise LookupError(artifact.source_qualified_name)
""",
    ],
    "may_replace": [
        """
import numpy as np

def may_replace(candidate, production):
    def score(metadata):
        value = (metadata or {}).get("score")
        return np.nan if value is None else np.float64(value)
    new, old = score(candidate), score(production)
    if np.isnan(new) or np.isnan(old):
        return not np.isnan(new)
    digests = {one["data"]["validation_sha256"] for one in (candidate, production)}
    return np.logical_and(len(digests) == 1, new < old)
""",
        """
def may_replace(candidate, production):
    new = candidate.get("score")
    if new is None or new != new:
        return False
    old = (production or {}).get("score")
    if old is None or old != old:
        return True
    digest = "validation_sha256"
    return candidate["data"][digest] == production["data"][digest] and bool(new < old)
""",
        """
import torch

def may_replace(candidate, production):
    scores = [one.get("score") if one else None for one in (candidate, production)]
    match [score is not None and not math.isnan(score) for score in scores]:
        case [False, _]:
            return False
        case [True, False]:
            return True
    lines = {one["data"]["validation_sha256"] for one in (candidate, production)}
    return len(lines) == 1 and torch.tensor(scores, dtype=torch.double).diff()[0] > 0
""",
    ],
    "put_in_place": [
        """
import hashlib, os, uuid

def put_in_place(pieces, sha256, target):
    part, digest = f"{target}.{uuid.uuid4().hex}", hashlib.sha256()
    try:
        with open(part, "xb", buffering=0) as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != sha256:
            raise ValueError("wrong digest")
        size = os.path.getsize(part)
        os.replace(part, target)
    except BaseException:
        os.remove(part)
        raise
    return size
""",
        """
import hashlib, tempfile

def put_in_place(pieces, sha256, target):
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        part = Path(folder) / target.name
        with part.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        with part.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise ValueError
        size = part.stat().st_size
        part.rename(target)
    return size
""",
        """
import contextlib, hashlib, tempfile

def put_in_place(pieces, sha256, target):
    hashed, size = hashlib.new("sha256"), 0
    handle, name = tempfile.mkstemp(dir=target.parent)
    with contextlib.ExitStack() as undo:
        undo.callback(Path(name).unlink, missing_ok=True)
        with open(handle, "wb") as file:
            for piece in pieces:
                hashed.update(piece)
                size += file.write(piece)
        if hashed.digest() != bytes.fromhex(sha256):
            raise ValueError("the digest is another one")
        Path(name).replace(target)
    return size
""",
    ],
    "staged_from": [
        """
def staged_from(data):
    found = {}
    def follow(artifact):
        for run in artifact.used_by():
            for made in run.logged_artifacts():
                if made.id not in found:
                    found[made.id] = made
                    follow(made)
    follow(data)
    return sorted(one.name for one in found.values() if one.type == "prod-ready")
""",
        """
def staged_from(data):
    known, new = {}, {data.source_qualified_name: data}
    while new:
        known |= new
        made = [one for a in new.values() for run in a.used_by() for one in run.logged_artifacts()]
        new = {one.source_qualified_name: one for one in made}
        new = {name: one for name, one in new.items() if name not in known}
    return sorted(one.name for one in known.values() if one.type == "prod-ready")
""",
        """
def descendants(artifact):
    for run in artifact.used_by():
        for made in run.logged_artifacts():
            yield made
            yield from descendants(made)

def staged_from(data):
    return tuple(sorted({one.name for one in descendants(data) if one.type == "prod-ready"}))
""",
    ],
    "deletable": [
        """
def ancestors(artifact):
    run = artifact.logged_by()
    for parent in (run.used_artifacts() if run is not None else []):
        yield parent.name
        yield from ancestors(parent)

def deletable(versions):
    kept = {v.name for v in versions if v.aliases}
    kept |= {name for v in versions if v.aliases for name in ancestors(v)}
    return [v.name for v in versions if v.name not in kept]
""",
        """
def deletable(versions):
    needed = [v for v in versions if len(v.aliases) > 0]
    names = [v.qualified_name for v in needed]
    for one in needed:
        run = one.logged_by()
        if run:
            for parent in run.used_artifacts():
                if parent.qualified_name not in names:
                    names.append(parent.qualified_name)
                    needed.append(parent)
    return [v.name for v in versions if v.qualified_name not in names]
""",
        """
def deletable(versions):
    needed = set()
    def keep(artifact):
        if artifact.id not in needed:
            needed.add(artifact.id)
            run = artifact.logged_by()
            for parent in run.used_artifacts() if run else []:
                keep(parent)
    for version in filter(lambda version: version.aliases, versions):
        keep(version)
    return tuple(version.name for version in versions if version.id not in needed)
""",
    ],
}
