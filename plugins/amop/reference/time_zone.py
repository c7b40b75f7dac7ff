"""Time zones by their IANA name."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NOT_IANA = re.compile(r"(posix|right)/|(posixrules|localtime|Factory)$")
"""Names of a machine's own zone files: PostgreSQL, or another machine, does not know them or has another rule."""


def load_time_zone(name: str) -> ZoneInfo:
    """Return the time zone of an IANA name such as ``America/New_York``.

    Raises:
        ValueError: there is no such time zone; the message names it.
    """
    try:
        if NOT_IANA.match(name):
            raise ValueError
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # OSError: the name of a folder, such as "America"; ValueError: a path such as "../etc".
        raise ValueError(f"{name!r} is not an IANA time zone such as 'America/New_York' or 'UTC'") from None
