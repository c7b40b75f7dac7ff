"""Time zones by their IANA name."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def load_time_zone(name: str) -> ZoneInfo:
    """Return the time zone of an IANA name such as ``America/New_York``.

    Raises:
        ValueError: there is no such time zone; the message names it.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # OSError: the name of a folder, such as "America"; ValueError: a path such as "../etc".
        raise ValueError(f"{name!r} is not an IANA time zone such as 'America/New_York' or 'UTC'") from None
