"""One API user of a carrier: address, credentials and pace, from the fields of an Airflow ``http`` connection."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from amop.carriers.errors import CarrierConnectionError
from amop.domain.http_connection import HttpConnectionError, read_http_connection

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
    verify: bool | str = True
    """Whose certificates are trusted: True = the machine's authorities; a text = the path of CA certificates."""
    is_loopback: bool = False

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
            pace = float(extra.get("calls_per_second", DEFAULT_CALLS_PER_SECOND))
        except (TypeError, ValueError):
            pace = 0.0
        if not 0 < pace <= 1000:
            raise CarrierConnectionError(f"{where}: extra calls_per_second must be a number above 0, at most 1000")
        return cls(
            connection_id, service_provider_name, address.base_url, login, password, pace, address.verify,
            address.is_loopback,
        )  # fmt: skip
