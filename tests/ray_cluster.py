"""A Ray cluster of three nodes on this machine: `python ray_cluster.py`, in an interpreter that has ray.

It prints the cluster's address and runs until its standard input is closed. Each node has its name in NODE, and one's
OpenBLAS is told another kernel.
"""

from __future__ import annotations

import sys
from typing import Any

NAMES = ("r1", "r2", "r3")
ODD = "r3"


def main() -> None:
    from ray.cluster_utils import Cluster

    small: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster()
    for name in NAMES:
        variables = {"NODE": name, **({"OPENBLAS_CORETYPE": "Nehalem"} if name == ODD else {})}
        cluster.add_node(**small, node_name=name, env_vars=variables)
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
