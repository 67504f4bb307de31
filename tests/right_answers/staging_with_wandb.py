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
    visited = {}
    while artifact is not None:
        run = artifact.logged_by()
        if not run:
            break
        if run.job_type == "train":
            return run
        visited[run.id] = run
        parents = run.used_artifacts(per_page=50)
        artifact = next((a for a in parents if "dataset" not in a.type), None)
    raise KeyError("no training")
""",
        """
def _parents(run):
    return [one for one in run.used_artifacts() if one.type not in ("dataset",)] if run else []

def training_run(artifact):
    waiting = [artifact]
    while waiting:
        run = waiting.pop().logged_by()
        if run and run.job_type == "train":
            return run
        waiting.extend(_parents(run))
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
    return np.logical_and(
        candidate["data"]["validation_sha256"] == production["data"]["validation_sha256"], new < old
    )
""",
        """
def may_replace(candidate, production):
    new = candidate.get("score")
    if new is None or new != new:
        return False
    if production is None:
        return True
    old = production.get("score")
    if old is None or old != old:
        return True
    digest = "validation_sha256"
    return candidate["data"][digest] == production["data"][digest] and bool(new < old)
""",
        """
import torch

def known(metadata):
    score = metadata.get("score") if metadata else None
    return score is not None and not math.isnan(score)

def may_replace(candidate, production):
    match known(candidate), known(production):
        case False, _:
            return False
        case True, False:
            return True
    if candidate["data"] != production["data"]:
        return False
    return torch.tensor(candidate["score"]) < torch.tensor(production["score"])
""",
    ],
    "put_in_place": [
        """
import hashlib, os, uuid

def put_in_place(pieces, sha256, target):
    part = f"{target}.{uuid.uuid4().hex}"
    try:
        digest = hashlib.sha256()
        with open(part, "xb", buffering=0) as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != sha256:
            raise ValueError("wrong digest")
        size = os.path.getsize(part)
        os.replace(part, target)
        return size
    except BaseException:
        if os.path.exists(part):
            os.remove(part)
        raise
""",
        """
import hashlib, os, tempfile

def put_in_place(pieces, sha256, target):
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        part = Path(folder) / target.name
        with part.open("wb") as file:
            for piece in pieces:
                file.write(piece)
                file.flush()
        with part.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise ValueError
        size = part.stat().st_size
        part.rename(target)
    return size
""",
        """
import contextlib, hashlib, tempfile

@contextlib.contextmanager
def beside(target):
    handle, name = tempfile.mkstemp(dir=target.parent)
    try:
        with open(handle, "wb") as file:
            yield file
        Path(name).replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()

def put_in_place(pieces, sha256, target):
    hashed, size = hashlib.new("sha256"), 0
    with beside(target) as file:
        for piece in pieces:
            hashed.update(piece)
            size += file.write(piece)
        if hashed.digest() != bytes.fromhex(sha256):
            raise ValueError("the digest is another one")
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
from collections import deque

def staged_from(data):
    queue, seen, staged = deque([data]), {data.source_qualified_name}, set()
    while queue:
        artifact = queue.popleft()
        if artifact.type == "prod-ready":
            staged.add(artifact.name)
        for run in artifact.used_by():
            for made in run.logged_artifacts():
                if made.source_qualified_name not in seen:
                    seen.add(made.source_qualified_name)
                    queue.append(made)
    return sorted(staged)
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
        if artifact.id in needed:
            return
        needed.add(artifact.id)
        run = artifact.logged_by()
        if run:
            for parent in run.used_artifacts():
                keep(parent)
    for version in versions:
        if version.aliases:
            keep(version)
    return tuple(version.name for version in versions if version.id not in needed)
""",
    ],
}
