"""Named random streams: every consumer of randomness gets a seed of its own, derived from the run's seed."""

import hashlib


def seed_for(run_seed: int, *labels: str | int) -> int:
    """A 63-bit seed for the stream named by ``labels``, the same on every machine and Python version.

    Streams with different labels are independent, so adding a consumer never shifts another's numbers.
    """
    text = "\x1f".join([str(run_seed), *map(str, labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
