"""The learning rate of both trainings: a short warm-up, then half a cosine."""

import math
from collections.abc import Iterable

from torch.nn import Parameter
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


def scheduled_adamw(
    parameters: Iterable[Parameter], learning_rate: float, warmup_steps: int, max_steps: int
) -> dict[str, object]:
    """AdamW as Lightning's `configure_optimizers` returns it; the rate ends at a fiftieth."""
    optimizer = AdamW(parameters, lr=learning_rate, weight_decay=0.01)

    def rate(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        progress = min((step - warmup_steps) / max(max_steps - warmup_steps, 1), 1.0)
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))

    schedule = LambdaLR(optimizer, rate)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
