"""What only PyTorch can answer: does it start, and does the model load.

A separate process, so that a PyTorch that crashes or hangs is found too.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from text_recognizer.places import project_folder

SECONDS = 60.0

_CODE = """
import json, sys, warnings
warnings.simplefilter("ignore")
told = {}
try:
    import torch
    told["torch"] = torch.__version__
    told["cuda"] = torch.version.cuda
    told["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    if len(sys.argv) > 1:
        from text_recognizer.errors import RecognizerError
        from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
        try:
            ParagraphTextRecognizer(sys.argv[1])
        except RecognizerError as error:
            told["model"] = str(error)
except BaseException as error:
    told["error"] = f"{type(error).__name__}: {error}"
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Told:
    """What the process reported."""

    torch: str | None = None
    """PyTorch's version."""
    cuda: str | None = None
    """The version of CUDA that PyTorch was built for; None for a CPU build."""
    gpu: str | None = None
    """The first GPU that PyTorch can use."""
    model: str | None = None
    """Why the model did not load."""
    error: str | None = None
    """Why PyTorch did not start."""


def ask_torch(model: Path | None, program: str = _CODE, seconds: float = SECONDS) -> Told:
    """Runs the process; one that takes longer than `seconds` is ended.

    Args:
        model: TorchScript file to load; None to load none.
        program: the Python code to run.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-B", "-c", program, *([str(model)] if model else [])],
            cwd=project_folder(),
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=seconds,
        )
        return Told(**json.loads(done.stdout.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        return Told(error=f"no answer within {seconds:.0f} s")
    except (ValueError, IndexError, TypeError):
        return Told(error=f"its process ended with code {done.returncode}")
