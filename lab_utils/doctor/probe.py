"""What only PyTorch can tell: does it start, does the model load, is there a GPU.

In a process of its own, beside the other looks: a PyTorch that crashes or hangs is found, too.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
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
    if torch.cuda.is_available():
        told["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
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
    """What the process said before it ended."""

    torch: str | None = None
    """PyTorch's version."""
    cuda: str | None = None
    """The version of CUDA that PyTorch was built for; None for a CPU build."""
    gpus: list[str] = field(default_factory=list)
    model: str | None = None
    """Why the model did not load."""
    error: str | None = None
    """Why PyTorch did not start."""


class Probe:
    """The process, started at once; `told` waits for it.

    Args:
        model: TorchScript file to load; None to load none.
    """

    def __init__(self, model: Path | None, command: tuple[str, ...] = ()) -> None:
        self._process = subprocess.Popen(
            [*(command or (sys.executable, "-B", "-c", _CODE)), *([str(model)] if model else [])],
            cwd=project_folder(),
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def told(self, seconds: float = SECONDS) -> Told:
        """Waits until the process has ended; one that takes longer is ended."""
        try:
            out, _ = self._process.communicate(timeout=seconds)
            return Told(**json.loads(out.splitlines()[-1]))
        except subprocess.TimeoutExpired:
            return Told(error=f"it did not answer within {seconds:.0f} s")
        except (ValueError, IndexError, TypeError):
            return Told(error=f"its process ended with code {self._process.returncode}")
        finally:
            self.close()

    def close(self) -> None:
        """Ends the process where it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
