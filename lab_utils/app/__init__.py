"""A web page over a predictor, for people, and an API over the same, for programs.

`make_frontend(LocalPredictor()).launch()` serves both; `API.md` describes the API.
"""

from lab_utils.app.server import Frontend, make_frontend

__all__ = ["Frontend", "make_frontend"]
