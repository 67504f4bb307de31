"""A small English character model and the search for the likeliest text with it.

Reading takes `character_model`, `beam_search` and `decoding`, which are plain Python beside torch;
`texts`, `estimation` and `train` make the model.
"""

from pathlib import Path

from text_recognizer.places import project_folder


def english_model_path() -> Path:
    """The model that comes with the project."""
    return project_folder() / "data" / "weights" / "english.ngrams"
