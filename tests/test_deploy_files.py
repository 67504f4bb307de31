"""The Dockerfiles, the templates and the machine's script: what an image holds is enough for its
work and nothing more."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from conftest import parses, program, python, ran
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILES = ["lambda.Dockerfile", "app.Dockerfile"]


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments on one line."""
    text = (DEPLOY / dockerfile).read_text()
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\s*\\\n\s*", " ", lines)
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def copied(dockerfile: str) -> list[tuple[str, str]]:
    """(source below the project, place in the image) of what a Dockerfile copies into its app."""
    pairs = []
    for name, rest in instructions(dockerfile):
        *sources, place = rest.split()
        if name == "COPY" and not sources[0].startswith("--from"):
            pairs += [(source, place) for source in sources if not place.startswith("/build")]
    return pairs


def installed(dockerfile: str) -> set[str]:
    """The distributions that a Dockerfile installs, with what they need, less what it trims."""
    (line,) = (rest for name, rest in instructions(dockerfile) if "pip install" in rest)
    words = shlex.split(line)
    named = words[words.index("--target") + 2 :]
    script = (DEPLOY / "trim_torch.sh").read_text().replace("\\\n", " ")
    trimmed = set(" ".join(re.findall(r"(?m)^rm -rf (.*)$", script)).split())
    found, open_names = set(), list(named)
    while open_names:
        name = canonicalize_name(open_names.pop())
        if name in found or name in trimmed:
            continue
        found.add(name)
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": ""}):
                open_names.append(requirement.name)
    return found


def link_packages(names: set[str], folder: Path) -> None:
    """A folder like the image's /opt/python: links to these distributions, and to no others."""
    folder.mkdir()
    for name in names:
        distribution = metadata.distribution(name)
        tops = {Path(file).parts[0] for file in distribution.files or ()}
        for top in tops - {"..", "__pycache__"}:
            source = Path(str(distribution.locate_file(top)))
            if source.exists() and not (folder / top).exists():
                (folder / top).symlink_to(source)


def copy_sources(dockerfile: str, root: Path, folder: Path, model: str) -> None:
    """What the image holds at `root`, as its Dockerfile copies it; the model is another one."""
    for source, place in copied(dockerfile):
        target = folder / Path(place).relative_to(root)
        if "${MODEL}" in source:
            shutil.copy(model, target)
            continue
        for path in sorted(ROOT.glob(source)):
            if path.is_dir():
                shutil.copytree(path, target, dirs_exist_ok=True)
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)


def run_as_in_image(dockerfile: str, root: str, folder: Path, model: str, code: str) -> dict:
    """Runs Python with what the image holds in `folder`, and nothing else to import; returns the
    JSON of the last line."""
    copy_sources(dockerfile, Path(root), folder, model)
    packages = folder.with_name("packages")
    link_packages(installed(dockerfile), packages)
    places = [str(packages), str(folder)]
    environment = {
        "PATH": "/usr/bin:/bin",
        "LAB_MODEL": str(folder / "model.pt"),
        "LAB_TRUST_MODEL": "1",  # the stand-in is not what this version compiles
        "LAB_HOME": str(folder.with_name("data")),
        "OMP_NUM_THREADS": "1",
    }
    code = f"import sys; sys.path[:0] = {places}\n{code}"
    done = ran(sys.executable, "-I", "-S", "-c", code, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


HANDLE = """
import base64, io, json, warnings
warnings.filterwarnings("ignore", "Failed to initialize NumPy")
from PIL import Image
from lab_utils.service.lambda_entry import handler
page = io.BytesIO()
Image.linear_gradient("L").save(page, "PNG")
answer = handler({"image": base64.b64encode(page.getvalue()).decode()})
# The stand-in reads without a language model; the packaged one with it.
from text_recognizer.language_model import decoding, english_model_path
from text_recognizer.language_model.character_model import load_model
load_model(english_model_path())
ours = [m for m in sys.modules if m.split(".")[0] in ("lab_utils", "text_recognizer")]
print(json.dumps({"text": answer["pred"], "modules": ours}))
"""


def test_the_function_reads_with_what_its_image_holds_and_imports_all_of_it(
    tmp_path, stand_in_path
):
    task = tmp_path / "task"
    result = run_as_in_image("lambda.Dockerfile", "/var/task", task, stand_in_path, HANDLE)
    assert result["text"].startswith("256x256")
    modules = {
        ".".join(path.relative_to(task).with_suffix("").parts).removesuffix(".__init__")
        for path in task.rglob("*.py")
    }
    assert modules == set(result["modules"])


SHOW = """
import json, warnings
warnings.filterwarnings("ignore", "Failed to initialize NumPy")
from lab_utils.app import make_frontend
from lab_utils.predictors import LocalPredictor, RemotePredictor
make_frontend(RemotePredictor("http://127.0.0.1:9"))
print(json.dumps({"text": LocalPredictor().predict("data/pages/show_font_000.jpg")}))
"""


@pytest.mark.nightly  # Gradio takes long to import
def test_the_front_end_works_with_what_its_image_holds(tmp_path, stand_in_path):
    result = run_as_in_image("app.Dockerfile", "/app", tmp_path / "app", stand_in_path, SHOW)
    assert "x" in result["text"]


def test_the_front_ends_command_is_one_of_the_labs():
    (entry,) = (rest for name, rest in instructions("app.Dockerfile") if name == "ENTRYPOINT")
    shell, option, script, zero = json.loads(entry)
    script = script.replace("python3 -m", "printf '%s|'")
    environment = {"LAB_MODEL_URL": "https://model.example.org/a b", "PATH": "/usr/bin:/bin"}
    done = ran(shell, option, script, zero, "--queue-size", 8, env=environment, check=True)
    program, *words = done.stdout.split("|")[:-1]
    assert program == "lab_utils.cli" and "https://model.example.org/a b" in words
    parses(shlex.join(["lab", *words, "--allow-host", "name.example.org"]))


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_what_an_image_holds_is_there_and_pinned_and_it_runs_as_nobody(dockerfile):
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:].split("/**")[0] for line in lines if line.startswith("!")}
    for source, _ in copied(dockerfile):
        if source != "${MODEL}":
            assert list(ROOT.glob(source)), source
            assert source in allowed or source.split("/")[0] in allowed, source
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(line.split("==")[0]) for line in constraints if "==" in line}
    # A CUDA build of PyTorch, which the tests also run with, needs more; images hold none.
    names = {n for n in installed(dockerfile) if not n.startswith(("nvidia", "triton", "cuda"))}
    assert names <= pins
    steps = instructions(dockerfile)
    (line,) = (rest for _, rest in steps if "pip install" in rest)
    assert "--constraint /build/constraints.txt" in line
    users = [rest for name, rest in steps if name == "USER"]
    assert users and all(int(user.split(":")[0]) > 0 for user in users)
    last = steps[steps.index(("FROM", "${BASE}")) :]
    assert not any(name == "RUN" for name, _ in last)  # what builds stays in the first stage
    assert all("--from=build" in rest for name, rest in last if name == "COPY")


def test_the_templates_pass_cfn_lint():
    files = [str(DEPLOY / "template.yaml"), str(DEPLOY / "ec2" / "access.yaml")]
    code = "import sys; from cfnlint.runner import main; sys.exit(main())"
    done = python(code, *files)
    assert done.returncode == 0, done.stdout + done.stderr


IMAGE = "1.dkr.ecr.eu-west-1.amazonaws.com/text-recognizer-app:1"


@pytest.fixture
def call(tmp_path):
    """Runs a program with commands that only write down how they were called; returns the calls."""
    calls = tmp_path / "calls"
    for name in ("systemctl", "docker", "dnf", "aws"):
        program(tmp_path / name, 'echo "$(basename "$0") $*" >> "$CALLS"')
    places = {"CALLS": str(calls), "DESTDIR": str(tmp_path / "root")}

    def run(*command: str) -> list[str]:
        calls.write_text("")
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        subprocess.run(command, env=path | places, check=True, capture_output=True)
        return calls.read_text().splitlines()

    return run


def start_script(**settings: str) -> list[str]:
    """The machine's start script with these settings written into it."""
    script = (DEPLOY / "ec2" / "user_data.sh").read_text()
    for name, value in settings.items():
        assert script.count(f"\n{name}=''\n") == 1
        script = script.replace(f"\n{name}=''\n", f"\n{name}={shlex.quote(value)}\n")
    return ["bash", "-c", script]


def test_the_machine_runs_the_front_end_on_loopback_and_restarts_it(call, tmp_path):
    root = tmp_path / "root"
    done = call(*start_script(IMAGE=IMAGE, MODEL_URL="https://model.example.org/?a=1&b=$HOME"))
    unit = (root / "etc/systemd/system/text-recognizer.service").read_text()
    assert "--publish 127.0.0.1:7860:7860" in unit
    assert "Restart=always" in unit and unit.count(IMAGE) == 1
    assert "--read-only" in unit and "--cap-drop ALL" in unit
    settings = (root / "etc/text-recognizer/settings").read_text().splitlines()
    assert settings[0] == "LAB_MODEL_URL=https://model.example.org/?a=1&b=$HOME"
    assert "systemctl restart text-recognizer.service text-recognizer-health.timer" in done
    calls = call("sh", str(root / "usr/local/bin/text-recognizer-pull"))
    assert "aws ecr get-login-password --region eu-west-1" in calls
    assert f"docker pull {IMAGE}" in calls


def test_the_script_may_run_again_and_keeps_the_secrets(call, tmp_path):
    root = tmp_path / "root"
    with pytest.raises(subprocess.CalledProcessError) as failed:
        call(*start_script())
    assert failed.value.returncode == 2 and b"IMAGE" in failed.value.stderr
    assert not root.exists()
    call(*start_script(IMAGE=IMAGE, TUNNEL="ssh -N -R 80:localhost:7860 me@example.org"))
    secrets = root / "etc/text-recognizer/secrets"
    assert secrets.stat().st_mode & 0o777 == 0o600
    secrets.write_text("LAB_APP_AUTH=a:b\n")
    tunnel = root / "usr/local/bin/text-recognizer-tunnel"
    assert tunnel.read_text() == "#!/bin/sh\nexec ssh -N -R 80:localhost:7860 me@example.org\n"
    done = call(*start_script(IMAGE=IMAGE))
    assert secrets.read_text() == "LAB_APP_AUTH=a:b\n"
    assert not tunnel.exists()
    assert "systemctl disable --now text-recognizer-tunnel.service" in done
