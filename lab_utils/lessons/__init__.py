"""The checks and figures of each notebook, side by side: `lessons/NAME/{checks,figures}.py`."""
