"""How much memory a worker of a training needed."""

import ctypes
import gc
from pathlib import Path

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameter numbers of ``mallopt(3)``."""


def keep_freed_memory() -> None:
    """Have glibc reuse the blocks a step frees; giving them back costs a fifth of a step in page faults."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**30)


def give_memory_back() -> None:
    """Collect what nothing refers to, and return what is free to the system and the GPU."""
    gc.collect()
    _return_free_blocks()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _return_free_blocks() -> None:
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


class PeakMemory:
    """The most bytes held at once since it was made, above what was held then.

    On a GPU these are the bytes that torch allocated. Else they are the process's resident memory, from Linux's
    high-water mark (VmHWM), which is put back to the present first; where the system does not allow that, an
    earlier peak of the process may be counted (``kind`` says so).
    """

    def __init__(self, device: str) -> None:
        self.device = device
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self.kind, self._start = "torch.cuda.max_memory_allocated", torch.cuda.memory_allocated()
            return
        _import_libraries()  # not to be counted as the memory of a process's first training
        _return_free_blocks()
        self.kind = "VmHWM"
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            self.kind = "VmHWM, not put back before"
        self._start = _status("VmRSS")

    @property
    def num_bytes(self) -> int:
        """The peak so far."""
        peak = torch.cuda.max_memory_allocated() if self.device == "cuda" else _status("VmHWM")
        return max(0, peak - self._start)


def _import_libraries() -> None:
    import peft  # noqa: F401
    import transformers  # noqa: F401


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.removesuffix("kB")) * 1024
    return 0
