"""Reads a picture of a handwritten paragraph: the recognizer, its data, its training.

Nothing here knows of `lab_utils`; inference needs only torch and Pillow.
"""

from text_recognizer.threads import prepare_threads

# The one thing that an import here does: OpenMP looks at its settings only when torch is loaded.
prepare_threads()
