"""Read the URL and the certificate verification of an Airflow ``http`` connection; for carriers and AMOP."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class HttpConnectionError(ValueError):
    """The connection is not usable as defined; the message names the field and the remedy and contains no secret."""


@dataclass(frozen=True, slots=True)
class HttpConnection:
    """A base URL and the certificates to trust."""

    base_url: str
    """Scheme, host, port and path, without a trailing slash."""
    is_loopback: bool
    """True for a host on this machine: TLS is not required, and the environment's proxies and CAs are ignored."""
    verify: bool | str
    """True = the machine's CA certificates; a string = path of a file or folder of CA certificates."""


def read_http_connection(
    host: str | None, schema: str | None, port: int | None, extra: Mapping[str, Any]
) -> HttpConnection:
    """Read a connection in either of Airflow's forms: a URL as host, or separate schema, host and port.

    The extra's ``verify`` may name a file or folder of CA certificates, for a host whose certificate is not signed by
    a public authority; it cannot disable verification.

    Raises:
        HttpConnectionError: the host is missing, malformed or contains credentials, TLS is missing for a host that is
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
        raise HttpConnectionError("the host must be a name, or https://name; credentials belong in login and password")
    is_loopback = _is_loopback(name)
    if parts.scheme == "http" and not is_loopback:
        raise HttpConnectionError("it has no TLS; use https (http is allowed for loopback addresses only)")
    shown, number = f"[{name}]" if ":" in name else name, written_port or port
    base_url = f"{parts.scheme}://{shown}{f':{number}' if number else ''}{parts.path.rstrip('/')}"
    return HttpConnection(base_url, is_loopback, _verify(extra.get("verify"), is_loopback))


def _verify(value: Any, is_loopback: bool) -> bool | str:
    """Return the value of the extra's ``verify``; a URI connection holds text, so ``"false"`` counts as false."""
    if value is None or value is True or str(value).lower() == "true":
        return True
    if value is False or str(value).lower() in {"false", "0", "no", "off", "none", ""}:
        if is_loopback:
            return False
        raise HttpConnectionError(
            "its extra disables the verification of the certificate; remove verify, or set it to the path of the CA "
            "certificates that signed the host's certificate"
        )
    if not isinstance(value, str) or not Path(value).exists():
        raise HttpConnectionError(
            f"extra verify must be the path, on this machine, of a file or folder of CA certificates; it is {value!r}"
        )
    return value


def _is_plain(host: str) -> bool:
    """Return False for a host with control characters or spaces: urlsplit silently drops some of them."""
    return host.isprintable() and " " not in host and "\\" not in host


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
