"""A cluster of ``ray.cluster_utils`` in a process of its own, each node with raylet and workers of its own.

Prints its address, then obeys lines: ``kill`` takes the oldest worker node away without warning, ``add`` puts a new one
there. Ends with all nodes when its input ends.
"""

import sys

from ray.cluster_utils import Cluster

OBJECT_STORE_BYTES = 80 << 20


def main(workers: int, cpus: int) -> None:
    """A head without CPUs, and ``workers`` nodes with ``cpus`` each."""
    cluster = Cluster()
    cluster.add_node(num_cpus=0, object_store_memory=OBJECT_STORE_BYTES)
    nodes = [cluster.add_node(num_cpus=cpus, object_store_memory=OBJECT_STORE_BYTES) for _ in range(workers)]
    sys.stdout.write(f"{cluster.address}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        if line == "kill\n":
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
        elif line == "add\n":
            nodes.append(cluster.add_node(num_cpus=cpus, object_store_memory=OBJECT_STORE_BYTES))
        sys.stdout.write("done\n")
        sys.stdout.flush()
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
