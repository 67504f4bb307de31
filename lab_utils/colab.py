"""Whether this runs on Google Colab, where some things are there already and others are missing."""

import importlib.util


def on_colab() -> bool:
    """True in a Colab session, also before anything of the lab is installed."""
    try:
        return importlib.util.find_spec("google.colab") is not None
    except ModuleNotFoundError:  # there is no `google` either
        return False
