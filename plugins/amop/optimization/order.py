"""An order of the SIMs that does not depend on the order of the input: by a hash of the device id.

The search walks the SIMs in this order, so that shuffled rows give the same answer, byte for byte; and because a hash
is as good as a shuffle, any stretch of it is a fair sample of the fleet.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from amop.optimization.model import Devices, Integers, OptimizerInputError

Hashes = npt.NDArray[np.uint64]

SEED = 0x9E3779B97F4A7C15
MIX = np.uint64(0xBF58476D1CE4E5B9)


def device_hashes(device_id: npt.NDArray[np.str_]) -> Hashes:
    """Return 64 bits of each id, shape (N,): a polynomial of its characters, then mixed (SplitMix64's constants)."""
    if not len(device_id) or not device_id.dtype.itemsize:
        return np.zeros(len(device_id), dtype=np.uint64)
    characters = np.ascontiguousarray(device_id).view(np.uint32).reshape(len(device_id), -1)
    total = np.zeros(len(device_id), dtype=np.uint64)
    factor = 1
    for position in range(characters.shape[1]):
        factor = factor * SEED % 2**64 | 1
        total += characters[:, position] * np.uint64(factor)
    for shift in (30, 27):
        total ^= total >> np.uint64(shift)
        total *= MIX
    return total ^ (total >> np.uint64(31))


def canonical_order(device_id: npt.NDArray[np.str_]) -> Integers:
    """Return the SIMs' rows in the order of their hashes, shape (N,); equal hashes by the id itself.

    Raises:
        OptimizerInputError: a device is there more than once.
    """
    hashes = device_hashes(device_id)
    row_bits = np.uint64(max(1, len(device_id)).bit_length())
    packed = (hashes >> row_bits << row_bits) | np.arange(len(device_id), dtype=np.uint64)
    packed.sort()  # far faster than to sort indices by hashes
    order = (packed & ((np.uint64(1) << row_bits) - np.uint64(1))).astype(np.int64)
    in_order = packed >> row_bits
    equal = np.flatnonzero(in_order[1:] == in_order[:-1])
    if len(equal):
        twins = np.unique(np.concatenate((equal, equal + 1)))
        rows = order[twins]
        rows = rows[np.lexsort((device_id[rows], in_order[twins]))]
        same = np.flatnonzero(device_id[rows][1:] == device_id[rows][:-1])
        if len(same):
            raise OptimizerInputError(f"device {str(device_id[rows[same]].min())!r} is there more than once")
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
