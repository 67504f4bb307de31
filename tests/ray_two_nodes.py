"""Ray's process as `lab_utils.service.ray_server` is, but with a cluster of two nodes, of which
one can be killed: `python ray_two_nodes.py`, started by `RayService`."""

import os
import signal
from pathlib import Path

from lab_utils.service import ray_server

NODE = {"num_cpus": 2, "object_store_memory": 80 * 2**20, "node_ip_address": ray_server.LOOPBACK}


class TwoNodes:
    """Two nodes on this machine, each with room for two replicas of one thread."""

    def start(self, order: ray_server.Order) -> None:
        # Ray reads the environment when it is imported, and that has only now been set.
        import ray
        from ray.cluster_utils import Cluster

        quick = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
        self.cluster = Cluster(initialize_head=True, head_node_args=NODE | quick)
        self.second = self.cluster.add_node(**NODE, include_log_monitor=False)
        ray.init(address=self.cluster.address, log_to_driver=False)

    def obey(self, order: dict) -> dict:
        assert order["do"] == "kill"
        raylet = self.second.all_processes["raylet"][0].process
        for pid in [*_children(raylet.pid), raylet.pid]:
            os.kill(pid, signal.SIGKILL)
        return {}

    def stop(self) -> None:
        import ray

        ray.shutdown()
        self.cluster.shutdown()


def _children(parent: int) -> list[int]:
    """Of all its threads: workers that outlive the raylet would end only when they miss it."""
    lists = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(pid) for children in lists for pid in children.read_text().split()]


if __name__ == "__main__":
    ray_server.main(TwoNodes)
