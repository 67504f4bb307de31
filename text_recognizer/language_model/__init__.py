"""A small English character model, a list of words, and the search for the likeliest text.

Reading takes `character_model`, `words`, `beam_search` and `decoding`, which are plain Python
beside torch; `texts`, `estimation` and `train` make the files.
"""

from pathlib import Path

from text_recognizer.places import project_folder


def english_model_path() -> Path:
    """The model that comes with the project."""
    return project_folder() / "data" / "weights" / "english.ngrams"
