"""A real S3 server for tests (moto's), and a proxy before it that brings what happens to requests on a network."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

from descant.artifacts.mirror import mirror_root

VARIABLES = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
BUCKET = "bucket"
WRITES = ("PUT", "POST", "DELETE")

Fate = Literal["pass", "lose the request", "lose the answer", "refuse", "forget the condition"]
Judge = Callable[[str, int], Fate]
"""The fate of a request, by its method and its number."""


@contextmanager
def s3_server(address: str = "127.0.0.1") -> Iterator[str]:
    """The URL of a server with one empty bucket."""
    import logging

    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    url = f"http://{address}:{server.get_host_and_port()[1]}"
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=url, **keys).create_bucket(Bucket=BUCKET)
    try:
        yield url
    finally:
        server.stop()


@contextmanager
def proxy(server: str, judge: Judge, after_loss: Callable[[], None] = lambda: None) -> Iterator[str]:
    """The URL of a proxy before ``server`` that asks ``judge`` about every request.

    ``after_loss`` is called when a request was done and its answer is lost.
    """
    host, lock, count = server.removeprefix("http://"), threading.Lock(), 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            nonlocal count
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                count += 1
                fate = judge(self.command, count)
            if fate == "lose the request":
                self.close_connection = True
                return
            if fate == "refuse":
                self.answer(
                    403, [], b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
                )
                return
            headers = {name: value for name, value in self.headers.items() if name != "Host"}
            if fate == "forget the condition":
                headers.pop("If-None-Match", None)
            connection = http.client.HTTPConnection(host, timeout=20)
            connection.request(self.command, self.path, body, {**headers, "Host": self.headers["Host"]})
            answer = connection.getresponse()
            data = answer.read()
            if fate == "lose the answer":
                after_loss()
                self.close_connection = True
                return
            self.answer(answer.status, answer.getheaders(), data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward

        def answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
            try:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("transfer-encoding", "connection") and not (
                        name.lower() == "content-length" and self.command != "HEAD"
                    ):
                        self.send_header(name, value)
                if self.command != "HEAD":
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data if self.command != "HEAD" else b"")
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}"
    finally:
        listening.shutdown()
        listening.server_close()


@dataclass(frozen=True)
class Machine:
    """A machine of its own, as far as a store on a URL can tell: a home of its own."""

    home: Path

    def root(self, url: str) -> Path:
        """The folder there of the store at ``url``; the store is opened by it."""
        return self.home / "stores" / mirror_root(url).name
