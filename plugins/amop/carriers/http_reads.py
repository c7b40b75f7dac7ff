"""Send many GET requests of a `requests` session, preparing what they have in common once.

`requests` prepares every request from the beginning: environment, proxies, cookies, headers, authentication and query.
That takes longer than sending it, which counts where a carrier answers within a millisecond.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import requests
from requests.cookies import extract_cookies_to_jar


class ReadSender:
    """Sends the reads of one session to one server; from one thread, as the session.

    Args:
        session: its authentication, adapters, certificates and proxies count, and its cookies.
    """

    def __init__(self, session: requests.Session) -> None:
        self._session = session
        self._settings: Mapping[str, Any] = {}
        self._headers: Mapping[str, str] | None = None
        self._prepared = requests.PreparedRequest()

    def get(
        self,
        address: str,
        parameters: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        *,
        timeout: tuple[float, float],
    ) -> requests.Response:
        """Return the response of a GET request, whose body has not been read; redirects are not followed.

        Args:
            address: URL without query; its path is percent-encoded.
            parameters: of the query.
            headers: of this request, beside those of the session.
            timeout: seconds to connect and between two reads.

        Raises:
            requests.RequestException: no response came.
        """
        if self._headers != headers or self._session.cookies:
            self._prepare(address, headers)
        request = self._prepared
        request.url = f"{address}?{urlencode(parameters)}" if parameters else address
        adapter = self._session.get_adapter(request.url)
        response = adapter.send(request, stream=True, timeout=timeout, **self._settings)
        if "Set-Cookie" in response.headers:
            extract_cookies_to_jar(self._session.cookies, request, response.raw)  # type: ignore[no-untyped-call]
        return response

    def _prepare(self, address: str, headers: Mapping[str, str]) -> None:
        """Prepare what the next requests have in common."""
        self._headers = dict(headers)
        self._prepared = self._session.prepare_request(requests.Request("GET", address, headers=self._headers))
        settings = self._session.merge_environment_settings(self._prepared.url, {}, None, None, None)
        self._settings = {name: settings[name] for name in ("proxies", "verify", "cert")}
