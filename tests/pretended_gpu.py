"""A device that does not exist: what mixes it with the processor fails, as on a real GPU."""

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

DEVICE = torch.device("meta")
"""Stands for it: PyTorch asks no driver for a device of this name."""
aten = torch.ops.aten
MAY_MIX = {aten._to_copy.default, aten.copy_.default, aten.index.Tensor}
"""Copies between devices, and indices, which may be on the processor."""
WAITS = {aten._local_scalar_dense.default, aten.nonzero.default}
"""The processor waits for the GPU in these, and in copies to the processor."""


class OnGpu(torch.Tensor):
    """Looks like a tensor on a GPU and keeps its values on the processor, in `values`."""

    is_cuda = True
    values: torch.Tensor

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> "OnGpu":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=DEVICE,
        )
        made.values = values
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} is used outside of PretendedGpu")


class PretendedGpu(TorchDispatchMode):
    """In its block, `torch.device("meta")` is a GPU; `waits` counts how often it is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.Tensor)]
        on_gpu = [one for one in tensors if isinstance(one, OnGpu)]
        if on_gpu and func not in MAY_MIX:
            mixed = [one for one in tensors if not isinstance(one, OnGpu) and one.dim() > 0]
            assert not mixed, f"{func} mixes tensors of the GPU and of the processor"
        device = kwargs.get("device")
        if device is not None:
            kwargs["device"] = torch.device("cpu")
            to_gpu = torch.device(device) == DEVICE
        else:
            to_gpu = bool(on_gpu)
        if func is aten.copy_.default:
            to_gpu = isinstance(args[0], OnGpu)
        if on_gpu and (func in WAITS or not to_gpu):
            self.waits[str(func)] += 1
        owners = {id(one.values): one for one in on_gpu}
        plain = tree_map_only(OnGpu, lambda one: one.values, (args, kwargs))
        result = func(*plain[0], **plain[1])
        if not to_gpu:
            return result
        return tree_map_only(
            torch.Tensor, lambda one: owners[id(one)] if id(one) in owners else OnGpu(one), result
        )
