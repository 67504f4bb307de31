"""What a batch of pages costs on a processor and on a GPU: measured, and taken apart in a trace.

`profile_batch_sizes` measures, a `Profile` keeps the figures, `read_trace` opens a trace.
"""

from lab_utils.profiling.batch_sizes import profile_batch_sizes
from lab_utils.profiling.profile import BatchFigures, Profile, recorded_profile
from lab_utils.profiling.trace import Trace, read_trace

__all__ = [
    "BatchFigures",
    "Profile",
    "Trace",
    "profile_batch_sizes",
    "read_trace",
    "recorded_profile",
]
