"""How much memory the tensors take that are made in a block, counted one by one."""

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Peak(TorchDispatchMode):
    """The most bytes of tensors that were made within the block and lived at the same time."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        before = [*model.parameters(), *model.buffers()]
        self.before = {tensor.untyped_storage()._cdata for tensor in before}
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.num_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.before:
                    self.alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
                del storage
        self.alive = {key: one for key, one in self.alive.items() if not one[0].expired()}
        self.num_bytes = max(self.num_bytes, sum(size for _, size in self.alive.values()))
        return made
