"""The process that serves: ``python -m hub.server`` prints its port, and ends when its standard input does."""

import json
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from . import routes
from .accounts import ACCOUNTS, Account
from .faults import EXPIRED, Fault, Faults
from .store import HubError, Store
from .web import OBSERVER, Request, Response, error_response, json_response

CHUNK = 64 * 1024
CONTROL = "/_hub/"


class ConnectionDroppedError(Exception):
    """The connection is to be closed without an answer, or in the middle of one."""


@dataclass
class Record:
    """One request in the log."""

    method: str
    path: str
    account: str | None
    status: int | None = None
    received: int = 0


class HubServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = Store()
        self.faults = Faults()
        self.log: list[Record] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Say what went wrong, unless a client merely left."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def reset(self) -> None:
        self.faults.clear()
        self.log.clear()
        with self.store.lock:
            self.store.clear()


class Handler(BaseHTTPRequestHandler):
    """Bytes in, bytes out, and what goes wrong in between."""

    server: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes, and Nagle would hold back the second

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        """The log is kept, not printed."""

    def _serve(self) -> None:
        path = unquote(self.path)
        if self.path.startswith(CONTROL):
            self._send(control(self.server, self.command, self.path, b"".join(self._body())), None)
            return
        account = self._account()
        record = Record(self.command, path, account and account.user)
        fault = None
        if OBSERVER not in self.headers:
            self.server.log.append(record)
            fault = self.server.faults.take(self.command, path)
        try:
            self._answer(record, account, fault)
        except (ConnectionDroppedError, ConnectionError):
            self.close_connection = True

    def _account(self) -> Account | None:
        return ACCOUNTS.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def _answer(self, record: Record, account: Account | None, fault: Fault | None) -> None:
        before = fault if fault and not fault.after else None
        if before and before.hang:
            self._hang(before)
        body = self._receive(record, before)
        response = failure(before) if before and before.status else self._response(account, body)
        if fault and fault.after:
            response = self._lost(fault)
        record.status = response.status
        self._send(response, fault)

    def _hang(self, fault: Fault) -> NoReturn:
        fault.released.wait()
        raise ConnectionDroppedError

    def _lost(self, fault: Fault) -> Response:
        """What comes in place of an answer that got lost."""
        if fault.hang:
            self._hang(fault)
        if fault.status is None:
            raise ConnectionDroppedError
        return failure(fault)

    def _receive(self, record: Record, fault: Fault | None) -> bytes:
        """The request's body. A fault may end it early or slow it down."""
        limit = fault.drop_after if fault else None
        chunks = []
        for chunk in self._body():
            if fault:
                time.sleep(fault.slow)
            chunks.append(chunk)
            record.received += len(chunk)
            if limit is not None and record.received >= limit:
                break
        if limit is not None and chunks:
            raise ConnectionDroppedError
        return b"".join(chunks)

    def _body(self) -> Iterator[bytes]:
        """Pieces of the body, whether its length is told or it comes in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            chunk = self.rfile.read(min(left, CHUNK))
            if not chunk:
                raise ConnectionDroppedError
            left -= len(chunk)
            yield chunk

    def _response(self, account: Account | None, body: bytes) -> Response:
        url = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(url.path),
            query=dict(parse_qsl(url.query)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            account=account,
            base=f"http://{self.headers['Host']}",
            store=self.server.store,
        )
        try:
            if account is None and "Authorization" in self.headers:  # refused even where no token is needed
                raise HubError(EXPIRED["status"], EXPIRED["message"])
            with self.server.store.lock:
                return routes.answer(request, url.path)
        except HubError as error:
            return error_response(error)
        except Exception as error:  # a fault of this server, or a request no client makes
            traceback.print_exc()
            return error_response(HubError(500, f"{type(error).__name__}: {error}"))

    def _send(self, response: Response, fault: Fault | None) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        content = b"" if self.command == "HEAD" else response.body
        if fault and fault.drop_after is not None:
            self.wfile.write(content[: fault.drop_after])
            raise ConnectionDroppedError
        for start in range(0, len(content), CHUNK):
            if fault:
                time.sleep(fault.slow)
            self.wfile.write(content[start : start + CHUNK])


def failure(fault: Fault) -> Response:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return error_response(HubError(fault.status, fault.message, fault.code, headers, fault.body))


def control(server: HubServer, method: str, path: str, body: bytes) -> Response:
    """What tests ask of the server rather than of the Hub."""
    match method, path.removeprefix(CONTROL):
        case "POST", "faults":
            server.faults.add(Fault(**json.loads(body)))
        case "DELETE", "faults":
            server.faults.clear()
        case "GET", "requests":
            return json_response([asdict(record) for record in server.log])
        case "DELETE", "requests":
            server.log.clear()
        case "POST", "reset":
            server.reset()
        case _:
            return json_response({"error": f"no control {method} {path}"}, 404)
    return json_response({})


def main() -> None:
    server = HubServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()  # closed by the end of whoever started this, however it ended


if __name__ == "__main__":
    main()
