"""What Lambda's runtime imports: `CMD ["lab_utils.service.lambda_entry.handler"]`.

The one module that works at import, because Lambda has a phase for that: it gives the import the
time of a whole core, and the first request finds the model loaded. A model that can't be loaded
ends the process here, which Lambda reports as a failed start. Import `lambda_handler` elsewhere.
"""

import gc
import warnings

# Nothing that the imports make is garbage, so looking for it then only takes time.
gc.disable()
# The image has no NumPy, and needs none.
warnings.filterwarnings("ignore", "Failed to initialize NumPy", UserWarning)

from lab_utils.service.lambda_handler import handler, load  # noqa: E402

__all__ = ["handler"]

load()
gc.freeze()
gc.enable()
