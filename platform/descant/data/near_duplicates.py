"""Texts that are nearly the same: MinHash signatures cut into bands (Broder 1997; Leskovec et al., chapter 3).

Two texts share one of the 16 bands of 8 values with a probability of 1 - (1 - s^8)^16, s the share of word phrases that
they have in common: 6 % at s = 0.5, 99 % at s = 0.85.
"""

import hashlib
from collections.abc import Iterable

import numpy as np

BANDS, ROWS = 16, 8
_PHRASE = 3


def bands(text: str) -> tuple[int, ...]:
    """One number below 2^63 for each band of the text's signature."""
    from datasketch import MinHash

    signature = MinHash(num_perm=BANDS * ROWS, seed=1)
    signature.update_batch([phrase.encode() for phrase in _phrases(text)])
    values = np.ascontiguousarray(signature.digest().reshape(BANDS, ROWS), dtype="<u8")
    return tuple(
        int.from_bytes(hashlib.blake2b(bytes([band]) + row.tobytes(), digest_size=8).digest(), "little") >> 1
        for band, row in enumerate(values)
    )


def _phrases(text: str) -> Iterable[str]:
    """Three words in a row, in lower case; all of a text that has fewer."""
    words = text.casefold().split()
    return {" ".join(words[i : i + _PHRASE]) for i in range(max(1, len(words) - _PHRASE + 1))}
