"""One API user of a carrier: address, credentials and pace, from the fields of an Airflow ``http`` connection."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from amop.carriers.errors import CarrierConnectionError

DEFAULT_CALLS_PER_SECOND = 5.0
"""Control Center's policy: at most 5 calls in any second and one call at a time for each API user."""


@dataclass(frozen=True, slots=True)
class CarrierAccount:
    """An API user of a carrier."""

    connection_id: str
    service_provider_name: str
    base_url: str
    """Scheme, host and port, without a slash at the end."""
    user: str
    api_key: str = field(repr=False)
    calls_per_second: float = DEFAULT_CALLS_PER_SECOND

    @property
    def gate_key(self) -> str:
        """What all processes that call as this API user share: host and user, hashed (a user name may be private)."""
        return hashlib.sha256(f"{self.base_url} {self.user}".encode()).hexdigest()[:32]

    @property
    def label(self) -> str:
        """How messages name the account."""
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
    ) -> CarrierAccount:
        """Read a connection in either of Airflow's forms: scheme in the host, or schema, host and port apart.

        Raises:
            CarrierConnectionError: a field is missing or wrong, or TLS is missing for a host that is not a
                loopback address.
        """
        where = f"{service_provider_name}: connection {connection_id}"
        if not host:
            raise CarrierConnectionError(f"{where} has no host; set it to the carrier's, like https://example.com")
        if not login or not password:
            raise CarrierConnectionError(f"{where} needs login (API user name) and password (API key)")
        base_url = base_url_of(where, host, schema, port)
        try:
            pace = float(extra.get("calls_per_second", DEFAULT_CALLS_PER_SECOND))
        except (TypeError, ValueError):
            pace = 0.0
        if not 0 < pace <= 1000:
            raise CarrierConnectionError(f"{where}: extra calls_per_second must be a number above 0, at most 1000")
        return cls(connection_id, service_provider_name, base_url, login, password, pace)


def base_url_of(where: str, host: str, schema: str | None, port: int | None) -> str:
    """Return scheme, host and port of an ``http`` connection; TLS is a must except on loopback.

    Raises:
        CarrierConnectionError: the host is malformed, carries credentials, or would be called without TLS.
    """
    try:
        parts = urlsplit(host if "://" in host else f"{schema or 'https'}://{host}")
        name, written_port = parts.hostname, parts.port
    except ValueError:
        raise CarrierConnectionError(f"{where}: the host is malformed") from None
    if not name or parts.scheme not in {"http", "https"} or parts.username or parts.password or parts.query:
        raise CarrierConnectionError(
            f"{where}: the host must be a name, or https://name; credentials belong into login and password"
        )
    if parts.scheme == "http" and not _is_loopback(name):
        raise CarrierConnectionError(f"{where} has no TLS; use https (http is allowed for loopback addresses only)")
    shown = f"[{name}]" if ":" in name else name
    number = written_port or port
    return f"{parts.scheme}://{shown}{f':{number}' if number else ''}{parts.path.rstrip('/')}"


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
