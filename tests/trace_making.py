"""Traces for the tests: made event by event, with figures that can be worked out by hand."""

import gzip
import json
from pathlib import Path

BASE = 4_525_959_831_084.75
"""µs; the profiler's clock starts anywhere."""

PROCESS, THREAD = 1234, 1235


def event(category: str, name: str, start: float, end: float, **place) -> dict:
    """A complete event; `pid`, `tid` and `args` of `place` are put in as they are."""
    return {
        "ph": "X",
        "cat": category,
        "name": name,
        "ts": BASE + start,
        "dur": end - start,
        "pid": PROCESS,
        "tid": THREAD,
        "args": {},
    } | place


def step(number: int, start: float, end: float) -> dict:
    return event("user_annotation", f"ProfilerStep#{number}", start, end)


def device_step(number: int, start: float, end: float) -> dict:
    return event("gpu_user_annotation", f"ProfilerStep#{number}", start, end, pid=0, tid=7)


def mark(name: str, start: float, end: float) -> dict:
    return event("user_annotation", name, start, end)


def operator(name: str, start: float, end: float, thread: int = THREAD) -> dict:
    return event("cpu_op", name, start, end, tid=thread)


def kernel(
    name: str,
    start: float,
    end: float,
    blocks: float = 1.0,
    occupancy: float = 50,
    device: int = 0,
    stream: int = 7,
) -> dict:
    arguments = {
        "device": device,
        "stream": stream,
        "correlation": 0,
        "blocks per SM": blocks,
        "warps per SM": 4 * blocks,
        "est. achieved occupancy %": occupancy,
        "grid": [64, 1, 1],
        "block": [128, 1, 1],
    }
    return event("kernel", name, start, end, pid=device, tid=stream, args=arguments)


def copy(start: float, end: float) -> dict:
    arguments = {"device": 0, "stream": 7, "correlation": 0, "bytes": 4096}
    name = "Memcpy DtoH (Device -> Pageable)"
    return event("gpu_memcpy", name, start, end, pid=0, tid=7, args=arguments)


def allocation(time: float, allocated: int, on_gpu: bool = False) -> dict:
    """What the profiler writes for `profile_memory=True`."""
    arguments = {"Total Allocated": allocated, "Device Type": int(on_gpu)}
    place = {"s": "t", "pid": PROCESS, "tid": THREAD, "args": arguments}
    return {"ph": "i", "cat": "cpu_instant_event", "name": "[memory]", "ts": BASE + time} | place


def document(events: list[dict]) -> dict:
    device = {"id": 0, "name": "made GPU", "numSms": 128, "totalGlobalMem": 2**34}
    return {"schemaVersion": 1, "deviceProperties": [device], "traceEvents": events}


def write(path: Path, events: list[dict]) -> Path:
    data = json.dumps(document(events)).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


BUSY_GPU = [
    step(3, 0, 1000),
    device_step(3, 100, 900),
    mark("finder", 10, 120),
    mark("reader", 130, 800),
    mark("encoder", 300, 790),
    operator("aten::conv2d", 20, 110),
    operator("aten::cudnn_convolution", 30, 100),
    operator("aten::matmul", 310, 500),
    operator("aten::item", 500, 780),
    operator("aten::add", 200, 230, thread=99),
    # Before the step, and launched before the trace began: over the window's edge.
    kernel("before", -50, 50, blocks=0.25, occupancy=20),
    # Two streams that overlap: 1.3 blocks a multiprocessor are no more than one.
    kernel("void gemm<4>(float*)", 100, 300, blocks=0.5, occupancy=40),
    kernel("softmax", 200, 400, blocks=0.8, occupancy=60, stream=20),
    copy(400, 450),
    kernel("over the end", 850, 950, blocks=2.0, occupancy=80),
    allocation(30, 512),
    allocation(40, 5000, on_gpu=True),
    allocation(50, 0),
]
"""One step of 1000 µs whose work on the GPU ends after 900: the window has 900 µs."""
