"""The network that training workers talk over: the one that Ray reaches their node by.

gloo would take the address that the node's own name stands for, which on many machines (``127.0.1.1 myhost`` in
``/etc/hosts``) is a loopback address: workers on several nodes would wait for each other until they time out.
"""

import os
from typing import Any

import psutil
from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend

INTERFACE = "GLOO_SOCKET_IFNAME"


class NodeTorchConfig(TorchConfig):
    """``TorchConfig`` whose workers name that network to gloo, unless the environment names another."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """Sets the variable before the process group is made."""
        return _Backend


class _Backend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        worker_group.execute(use_network_of_node)
        super().on_start(worker_group, backend_config)


def use_network_of_node() -> None:
    """Name the interface with this node's address to gloo, in this process."""
    import ray

    name = interface_of(ray.util.get_node_ip_address())
    if name is not None:
        os.environ.setdefault(INTERFACE, name)


def interface_of(address: str) -> str | None:
    """The network interface that has ``address``; None where none has."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(found.address == address for found in addresses):
            return name
    return None
