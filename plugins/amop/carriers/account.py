"""One API user of a carrier: URL, credentials and rate limit, from the fields of an Airflow ``http`` connection."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from amop.carriers.errors import CarrierConnectionError
from amop.carriers.http_connection import HttpConnectionError, read_http_connection
from amop.carriers.protocol import ListLimits
from amop.families import CONTROL_CENTER_LIMITS

DEFAULT_CALLS_PER_SECOND = CONTROL_CENTER_LIMITS.calls_per_second

HIGHEST_CALLS_PER_SECOND = 10_000
"""More than a client can make one after another: stands for a carrier without a limit."""

DOCUMENTED_PATH = re.compile(r"/(rws(/api(/v1)?)?|api(/(m2m/)?v1)?)$", re.IGNORECASE)
"""The path of the base URL in the vendors' documentation, such as ``https://host/rws/api/v1``: the client adds it."""


@dataclass(frozen=True, slots=True)
class CarrierAccount:
    """An API user of a carrier."""

    connection_id: str
    service_provider_name: str
    base_url: str
    """Scheme, host and port, without a trailing slash."""
    user: str
    api_key: str = field(repr=False)
    calls_per_second: float = DEFAULT_CALLS_PER_SECOND
    verify: bool | str = True
    """Trusted certificates: True = the machine's CA certificates; a string = path of CA certificates."""
    is_loopback: bool = False
    list_limits: ListLimits = field(default_factory=ListLimits)
    limited_account: str | None = None
    """The carrier's account, where its rate limit is one for all API users of the account; None = one for each user."""
    client_id: str | None = None
    """OAuth client of an API that has one beside its API users."""
    client_secret: str | None = field(default=None, repr=False)
    account_name: str | None = None
    """The carrier's account whose SIMs are listed, for an API that needs its name."""
    callback_url: str | None = None
    """What an asynchronous API is to call when an operation ends; the package itself polls."""

    @property
    def gate_key(self) -> str:
        """Key shared by all processes under the same rate limit: a hash, because user names may be private."""
        limited = self.user if self.limited_account is None else f"account {self.limited_account}"
        return hashlib.sha256(f"{self.base_url} {limited}".encode()).hexdigest()[:32]

    @property
    def label(self) -> str:
        """Name of the account in messages."""
        return f"{self.service_provider_name} (connection {self.connection_id})"

    @classmethod
    def from_connection_fields(
        cls,
        *,
        connection_id: str,
        service_provider_name: str,
        host: str | None,
        schema: str | None,
        port: int | None,
        login: str | None,
        password: str | None,
        extra: Mapping[str, Any],
        calls_per_second: float = DEFAULT_CALLS_PER_SECOND,
    ) -> CarrierAccount:
        """Read a connection in either of Airflow's forms: a URL as host, or separate schema, host and port.

        ``calls_per_second`` is the limit of the account's family; extra ``calls_per_second`` overrides it.

        Raises:
            CarrierConnectionError: a field is missing or wrong, or TLS or its verification is missing for a host
                that is not a loopback address.
        """
        where = f"{service_provider_name}: connection {connection_id}"
        if not login or not password:
            raise CarrierConnectionError(f"{where} needs login (API user name) and password (API key)")
        try:
            address = read_http_connection(host, schema, port, extra)
        except HttpConnectionError as error:
            raise CarrierConnectionError(f"{where}: {error}") from None
        try:
            pace = float(extra.get("calls_per_second", calls_per_second))
        except (TypeError, ValueError):
            pace = 0.0
        if not 0 < pace <= HIGHEST_CALLS_PER_SECOND:
            raise CarrierConnectionError(
                f"{where}: extra calls_per_second must be a number above 0, at most {HIGHEST_CALLS_PER_SECOND}"
            )
        try:
            limits = _list_limits(extra)
        except (TypeError, ValueError):
            raise CarrierConnectionError(
                f"{where}: extra list_since must be a date such as 2000-01-01, list_window_days a whole number from 2 "
                "to 3650"
            ) from None
        return cls(
            connection_id,
            service_provider_name,
            DOCUMENTED_PATH.sub("", address.base_url),
            login,
            password,
            pace,
            address.verify,
            address.is_loopback,
            limits,
            _limited_account(extra, where),
            client_id=_text(extra.get("client_id"), "client_id", where),
            client_secret=_text(extra.get("client_secret"), "client_secret", where),
            account_name=_text(extra.get("account_name"), "account_name", where),
            callback_url=_text(extra.get("callback_url"), "callback_url", where),
        )


def _text(value: Any, name: str, where: str) -> str | None:
    """Return a text of the extra, None without it."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise CarrierConnectionError(f"{where}: extra {name} must be a text")
    return value.strip()


def _limited_account(extra: Mapping[str, Any], where: str) -> str | None:
    """Return the account that the rate limit belongs to, None for a limit of each API user."""
    account = extra.get("rate_limit_account")
    if account is None:
        return None
    if isinstance(account, bool) or not isinstance(account, str | int) or not str(account).strip():
        raise CarrierConnectionError(
            f"{where}: extra rate_limit_account must be the name or number of the carrier's account, the same in the "
            "connections of all its API users"
        )
    return str(account).strip()


def _list_limits(extra: Mapping[str, Any]) -> ListLimits:
    """Return the limits of device lists; raise ValueError or TypeError where they are not usable."""
    default = ListLimits()
    since, days = extra.get("list_since"), int(extra.get("list_window_days", default.longest.days))
    if not 2 <= days <= 3650:
        raise ValueError("list_window_days")
    earliest = (
        default.earliest if since is None else datetime.combine(date.fromisoformat(since), datetime.min.time(), UTC)
    )
    return ListLimits(earliest, timedelta(days=days))
