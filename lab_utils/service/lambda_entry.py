"""What Lambda's runtime imports: `CMD ["lab_utils.service.lambda_entry.handler"]`.

The one module with work at import, because that is Lambda's phase for it: it gives the import the
time of a whole core, and the first request finds the model loaded. A model that cannot be loaded
ends the process here, which Lambda reports as a failed start. Import `lambda_handler` elsewhere.
"""

import gc
import sys
import types
import warnings

# Nothing that the imports make is garbage: looking for some takes a tenth of their time.
gc.disable()
# A quarter of the time that importing torch takes goes into the shapes that its operators would
# have for tensors without data, which only torch.compile and torch.export ask for.
_UNUSED = "torch._meta_registrations"
if "torch" not in sys.modules:
    sys.modules[_UNUSED] = types.ModuleType(_UNUSED)
# The image has no NumPy, and needs none.
warnings.filterwarnings("ignore", "Failed to initialize NumPy", UserWarning)

from lab_utils.service.lambda_handler import handler, load  # noqa: E402

__all__ = ["handler"]

load()
gc.freeze()
gc.enable()
