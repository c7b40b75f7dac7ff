"""Where an Airflow ``http`` connection leads and how its certificate is verified; of carriers and AMOP alike."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class HttpConnectionError(ValueError):
    """The connection cannot be used as it is defined; the message names field and cure, and holds no secret."""


@dataclass(frozen=True, slots=True)
class HttpConnection:
    """An address and whom to trust there."""

    base_url: str
    """Scheme, host, port and path, without a slash at the end."""
    is_loopback: bool
    """No other machine is on the way: no TLS is needed, and no proxy or CA of the environment counts."""
    verify: bool | str
    """True = the trusted certificates of the machine; a text = the path of a file or folder of CA certificates."""


def read_http_connection(
    host: str | None, schema: str | None, port: int | None, extra: Mapping[str, Any]
) -> HttpConnection:
    """Read a connection in either of Airflow's forms: scheme in the host, or schema, host and port apart.

    The extra's ``verify`` may name a file or folder of CA certificates, for a host whose certificate is not signed by
    a public authority; it cannot switch verification off.

    Raises:
        HttpConnectionError: the host is missing, malformed or carries credentials, TLS is missing for a host that is
            not a loopback address, or its certificate would not be verified.
    """
    if not host:
        raise HttpConnectionError("it has no host; set it to https://name")
    try:
        parts = urlsplit(host if "://" in host else f"{schema or 'https'}://{host}")
        name, written_port = parts.hostname, parts.port
    except ValueError:
        raise HttpConnectionError("the host is malformed") from None
    if (
        not name
        or not _is_plain(host)
        or parts.scheme not in {"http", "https"}
        or parts.username is not None
        or parts.password is not None
        or parts.query
        or parts.fragment
    ):
        raise HttpConnectionError(
            "the host must be a name, or https://name; credentials belong into login and password"
        )
    is_loopback = _is_loopback(name)
    if parts.scheme == "http" and not is_loopback:
        raise HttpConnectionError("it has no TLS; use https (http is allowed for loopback addresses only)")
    shown, number = f"[{name}]" if ":" in name else name, written_port or port
    base_url = f"{parts.scheme}://{shown}{f':{number}' if number else ''}{parts.path.rstrip('/')}"
    return HttpConnection(base_url, is_loopback, _verify(extra.get("verify"), is_loopback))


def _verify(value: Any, is_loopback: bool) -> bool | str:
    """Return what the extra's ``verify`` means; Airflow's form for the URI is text, so ``"false"`` is false, too."""
    if value is None or value is True or str(value).lower() == "true":
        return True
    if value is False or str(value).lower() in {"false", "0", "no", "off", "none", ""}:
        if is_loopback:
            return False
        raise HttpConnectionError(
            "its extra switches the verification of the certificate off; remove verify, or set it to the path of the "
            "CA certificates that signed the host's"
        )
    if not isinstance(value, str) or not Path(value).exists():
        raise HttpConnectionError(
            f"extra verify must be the path, on this machine, of a file or folder of CA certificates; it is {value!r}"
        )
    return value


def _is_plain(host: str) -> bool:
    """Return False for a host with control characters or spaces: urlsplit drops some of them without a word."""
    return host.isprintable() and " " not in host and "\\" not in host


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
