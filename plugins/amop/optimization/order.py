"""An order of the SIMs that does not depend on the order of the input: by a hash of the device id.

The search walks the SIMs in this order, so that shuffled rows give the same answer, byte for byte; and because a hash
is as good as a shuffle, any stretch of it is a fair sample of the fleet.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from amop.optimization.model import Devices, Flags, Integers, OptimizerInputError

Hashes = npt.NDArray[np.uint64]

SEED = 0x9E3779B97F4A7C15
MIX = np.uint64(0xBF58476D1CE4E5B9)
BLOCK = 16_384
"""Rows hashed at once, so that their characters stay in the processor's cache."""


def device_hashes(device_id: npt.NDArray[np.str_]) -> Hashes:
    """Return 64 bits of each id, shape (N,): a polynomial of its characters, then mixed (SplitMix64's constants)."""
    if not len(device_id) or not device_id.dtype.itemsize:
        return np.zeros(len(device_id), dtype=np.uint64)
    characters = np.ascontiguousarray(device_id).view(np.uint32).reshape(len(device_id), -1)
    total = np.zeros(len(device_id), dtype=np.uint64)
    for first in range(0, len(total), BLOCK):
        block, factor = characters[first : first + BLOCK], 1
        for position in range(characters.shape[1]):
            factor = factor * SEED % 2**64 | 1
            total[first : first + BLOCK] += block[:, position] * np.uint64(factor)
    return mixed(total)


def mixed(values: Hashes) -> Hashes:
    """Return hashes of 64-bit values: every bit of a value changes about half of the bits of its hash (SplitMix64)."""
    for shift in (30, 27):
        values = (values ^ (values >> np.uint64(shift))) * MIX
    return values ^ (values >> np.uint64(31))


def sorted_rows(keys: Hashes) -> tuple[Integers, Flags]:
    """Return rows sorted by the upper 32 bits of their keys, shape (n,), and where two neighbours' bits are the same.

    Two passes of a radix sort, which is what numpy does with 16 bits: several times faster than a sort of indices.
    """
    upper = (keys >> np.uint64(32)).astype(np.uint32)
    order = np.argsort((upper & np.uint32(0xFFFF)).astype(np.uint16), kind="stable")
    order = order[np.argsort((upper >> np.uint32(16)).astype(np.uint16)[order], kind="stable")]
    upper = upper[order]
    return order, upper[1:] == upper[:-1]


def canonical_order(device_id: npt.NDArray[np.str_]) -> Integers:
    """Return the SIMs' rows in the order of their hashes, shape (N,); equal hashes by the id itself.

    Raises:
        OptimizerInputError: a device is there more than once.
    """
    hashes = device_hashes(device_id)
    order, is_like_next = sorted_rows(hashes)
    equal = np.flatnonzero(is_like_next)
    if len(equal):
        twins = np.unique(np.concatenate((equal, equal + 1)))
        rows = order[twins]
        begins = np.append(True, ~is_like_next)[twins]
        rows = rows[np.lexsort((device_id[rows], np.cumsum(begins)))]
        same = np.flatnonzero(device_id[rows][1:] == device_id[rows][:-1])
        if len(same):
            raise OptimizerInputError(f"device {min(device_id[rows[same]].tolist())!r} is there more than once")
        order[twins] = rows
    return order


def check_devices(devices: Devices, plan_count: int, communication_plan_count: int, period_days: int) -> None:
    """Check each SIM by itself; that no id is there twice is checked by `canonical_order`.

    Raises:
        OptimizerInputError: a value is out of its range; the message names the first such SIM.
    """
    days = devices.days_active
    for what, wrong in (
        ("usage_mb is negative", devices.usage_micro_mb < 0),
        ("sms_usage is negative", devices.sms_usage < 0),
        (f"days_active is not within 1 and {period_days}", (days < 1) | (days > period_days)),
        (
            "the communication plan is unknown",
            (devices.communication_plan < 0) | (devices.communication_plan >= communication_plan_count),
        ),
        (
            "the current rate plan is unknown",
            (devices.current_rate_plan >= plan_count) | (devices.current_rate_plan < -1),
        ),
    ):
        if wrong.any():
            raise OptimizerInputError(f"device {str(devices.device_id[int(np.argmax(wrong))])!r}: {what}")
