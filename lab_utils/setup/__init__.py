"""The set-up that all notebooks share: the cell that finds or fetches the lab, the badge that opens
a notebook on Colab, and `prepare`, which the cell calls.

Importing it needs only the standard library: on Colab nothing else may be installed yet.
"""

from lab_utils.setup.cell import badge, setup_cell
from lab_utils.setup.session import prepare

__all__ = ["badge", "prepare", "setup_cell"]
