"""64-bit hashes of device ids and of rows, and a radix sort by them.

The search processes SIMs in the order of these hashes, so that shuffled input gives the same answer byte for byte. The
mixing function is modelled on SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from amop.solver.model import Flags, Integers

Hashes = npt.NDArray[np.uint64]

SEED = 0x9E3779B97F4A7C15
MIX = np.uint64(0xBF58476D1CE4E5B9)
CACHED_ROWS = 16_384
"""Rows hashed at a time, so that their characters stay in the processor's cache."""


def device_hashes(device_id: npt.NDArray[np.str_]) -> Hashes:
    """Return the 64-bit hash of each id, shape (N,), uint64: a polynomial of its characters, mixed."""
    if not len(device_id) or not device_id.dtype.itemsize:
        return np.zeros(len(device_id), dtype=np.uint64)
    characters = np.ascontiguousarray(device_id).view(np.uint32).reshape(len(device_id), -1)
    total = np.zeros(len(device_id), dtype=np.uint64)
    for first in range(0, len(total), CACHED_ROWS):
        block, factor = characters[first : first + CACHED_ROWS], 1
        for position in range(characters.shape[1]):
            factor = factor * SEED % 2**64 | 1
            total[first : first + CACHED_ROWS] += block[:, position] * np.uint64(factor)
    return mix(total)


def mix(values: Hashes) -> Hashes:
    """Return a hash of each 64-bit value, shape (n,): each bit of the value changes about half of the hash's bits."""
    for shift in (30, 27):
        values = (values ^ (values >> np.uint64(shift))) * MIX
    return values ^ (values >> np.uint64(31))


def sorted_rows(keys: Hashes) -> tuple[Integers, Flags]:
    """Return the rows sorted by the upper 32 bits of their keys, and which neighbours have the same upper 32 bits.

    The sort is two passes over 16 bits each, for which numpy uses a radix sort: several times faster than an argsort
    of 64-bit keys.

    Args:
        keys: shape (n,).

    Returns:
        Row numbers, shape (n,), int64; flags, shape (n - 1,), True where row i and row i + 1 of that order are equal.
    """
    upper = (keys >> np.uint64(32)).astype(np.uint32)
    order = np.argsort((upper & np.uint32(0xFFFF)).astype(np.uint16), kind="stable")
    order = order[np.argsort((upper >> np.uint32(16)).astype(np.uint16)[order], kind="stable")]
    upper = upper[order]
    return order, upper[1:] == upper[:-1]
