"""`python -m lab_tracker`: serves the tracker in a terminal."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lab_tracker.environment import tracker_folder
from lab_tracker.errors import TrackingError


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until Ctrl-C; the exit code, 2 if the folder or the port can't be used."""
    parser = argparse.ArgumentParser(
        prog="python -m lab_tracker",
        description="Serve a tracker that the wandb SDK takes for W&B.",
    )
    parser.add_argument(
        "--folder", type=Path, help="of its data (default: wandb below LAB_HOME, else .lab/wandb)"
    )
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one (8080)")
    options = parser.parse_args(arguments)
    from lab_tracker.server import serve

    try:
        serve(options.folder or tracker_folder(), options.port)
    except TrackingError as error:
        print(f"lab_tracker: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
