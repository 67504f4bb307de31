"""The model file that a service on this machine serves."""

import os
from pathlib import Path

from lab_utils.service.errors import ServiceError


def model_file(model: Path | None = None) -> Path:
    """The file: `model`, else LAB_MODEL's, else that of the packaged weights.

    These are compiled first where the compiled file is missing or older than they are. Raises
    ServiceError if a named file is not there.
    """
    if named := model or os.environ.get("LAB_MODEL"):
        path = Path(named)
        if not path.is_file():
            raise ServiceError(f"There is no model file at {path}; make one with `lab compile`.")
        return path
    from lab_utils.loading import compile_packaged_weights
    from lab_utils.packaged import is_current
    from text_recognizer.paragraph_text_recognizer import compiled_model_path

    path = compiled_model_path()
    if not is_current(path):
        compile_packaged_weights(path)
    return path
