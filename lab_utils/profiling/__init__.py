"""What a batch of pages costs on a processor and on a GPU: measured, and taken apart in a trace.

`profile_batch_sizes` measures, a `Profile` keeps the figures, `read_trace` opens a trace.
"""

from lab_utils.profiling.batch_sizes import profile_batch_sizes
from lab_utils.profiling.profile import (
    TOO_LARGE,
    BatchFigures,
    Profile,
    ProfileError,
    recorded_profile,
)
from lab_utils.profiling.trace import Trace, TraceError, read_trace

__all__ = [
    "TOO_LARGE",
    "BatchFigures",
    "Profile",
    "ProfileError",
    "Trace",
    "TraceError",
    "profile_batch_sizes",
    "read_trace",
    "recorded_profile",
]
