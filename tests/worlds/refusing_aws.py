"""AWS that refuses every request and repeats its credentials, in the answers of S3, SQS and SES."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from xml.sax.saxutils import escape

from tests.worlds.canaries import echo


class RefusingAws:
    """The server's address, and the requests that it has refused.

    Args:
        secret: the secret key that is repeated.
    """

    def __init__(self, secret: str) -> None:
        self.refused = 0
        self.address = ""
        self._secret = secret

    def answer(self, authorization: str, *, is_json: bool) -> tuple[str, bytes]:
        """Return content type and body of a refusal."""
        self.refused += 1
        said = f"{echo('sandbox', self._secret)} with {authorization}"
        if is_json:
            return "application/x-amz-json-1.0", json.dumps(
                {"__type": "com.amazonaws.sqs#AccessDenied", "message": said}
            ).encode()
        error = f"<Error><Code>AccessDenied</Code><Message>{escape(said)}</Message></Error>"
        return "text/xml", f"<ErrorResponse>{error}</ErrorResponse>".encode()


@contextmanager
def refusing_aws(secret: str) -> Iterator[RefusingAws]:
    """Run the server on a free port of the loopback address."""
    aws = RefusingAws(secret)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _refuse(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kind, body = aws.answer(self.headers.get("Authorization", ""), is_json="X-Amz-Target" in self.headers)
            self.send_response(403)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _refuse  # noqa: N815 the names of the base class

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    aws.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield aws
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
