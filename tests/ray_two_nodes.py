"""A Ray cluster of two nodes, of which one dies with pages on it; see `test_ray_service.py`."""

import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
from conftest import save_script
from ray_cases import MAX_BATCH, QUEUE_SIZE, SlowReader, page

from lab_utils.net import LOOPBACK, free_port
from lab_utils.predictors import RemotePredictor
from lab_utils.predictors.retrying import Clock
from lab_utils.service.ray_environment import prepare_ray

FITS = 2 * 2 * MAX_BATCH
"""Requests that both replicas take at once."""
NODE = {"num_cpus": 2, "object_store_memory": 80 * 2**20, "node_ip_address": LOOPBACK}


def test_a_node_that_dies_under_load_costs_no_page(tmp_path, monkeypatch):
    # The paths of Ray's sockets may have only 107 characters.
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        prepare_ray()
        import ray
        from ray import serve
        from ray.cluster_utils import Cluster

        from lab_utils.service.ray_service import RaySettings, deploy

        model = save_script(SlowReader(), tmp_path / "model.pt")
        port = free_port()
        cluster = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
        second = cluster.add_node(**NODE)
        try:
            ray.init(address=cluster.address, log_to_driver=False)
            serve.start(proxy_location="HeadOnly", http_options={"host": LOOPBACK, "port": port})
            deploy(RaySettings(model, 2, MAX_BATCH, 20, QUEUE_SIZE))
            _kill_a_node_under_load(second, f"http://{LOOPBACK}:{port}")
        finally:
            ray.shutdown()
            cluster.shutdown()


def _kill_a_node_under_load(node, url: str) -> None:
    waits: list[float] = []
    under_way = threading.Event()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        time.sleep(seconds)

    def read_some(first: int) -> list[str]:
        """Eight pages, and on until the node's end was felt somewhere."""
        end = time.monotonic() + 60
        with RemotePredictor(url, retries=10, clock=Clock(sleep=wait)) as predictor:
            texts = []
            while len(texts) < 8 or (not waits and time.monotonic() < end):
                texts.append(predictor.predict(page(first + len(texts) % 8)))
                if len(texts) == 2:
                    under_way.set()
            return texts

    # More than one replica takes, so that the other has some when its node dies.
    firsts = range(1000, 1000 + FITS * 10, 10)
    with ThreadPoolExecutor(len(firsts)) as threads:
        running = [threads.submit(read_some, first) for first in firsts]
        assert under_way.wait(120)
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        # Workers that outlive the raylet would end only when they miss it.
        for process in [*raylet.children(), raylet]:
            process.kill()
        texts = [one.result(timeout=240) for one in running]
    for first, own in zip(firsts, texts, strict=True):
        assert own == [f"1 {first + index % 8}x60" for index in range(len(own))]
    assert waits  # some pages were lost with the node, and asked for again
