"""The set-up that all notebooks share: the cell that finds or fetches the lab, the badge that opens
a notebook on Colab, and `prepare`, which the cell calls.

Importing it needs the standard library alone: on Colab nothing else may be there yet.
"""

from lab_utils.setup.cell import badge, setup_cell
from lab_utils.setup.session import prepare

__all__ = ["badge", "prepare", "setup_cell"]
