"""Limits of connections and of bodies, which uvicorn and FastAPI do not have."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

SILENT_SECONDS = 10.0  # after which a connection without a request is closed
MOST_CONNECTIONS = 1024  # beyond which new ones are refused
MOST_REFUSED = 256  # that are open at a time
_FULL = json.dumps({"error": "The server has too many connections; try again later"})
_REFUSAL = (
    "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
    f"content-length: {len(_FULL)}\r\nretry-after: {SILENT_SECONDS:.0f}\r\n"
    f"connection: close\r\n\r\n{_FULL}"
).encode()


# The newest refused connections, and when they are closed; a process has one server.
_refused: deque[tuple[Any, asyncio.TimerHandle]] = deque()


class LimitedProtocol(asyncio.Protocol):
    """HTTP/1.1 whose connections are limited in number and in the time until a request.

    A connection gets a parser with its first bytes: floods of silent ones take little memory.
    """

    def __init__(self, server_state: Any, **others: Any):
        self._connections = server_state.connections
        self._parser_options = {"server_state": server_state, **others}

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if len(self._connections) >= MOST_CONNECTIONS:
            _refuse(transport)
            return
        self._connections.add(self)
        loop = asyncio.get_running_loop()
        self._timeout = loop.call_later(SILENT_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        self._leave()
        parser = _TimedParser(**self._parser_options)
        self._transport.set_protocol(parser)
        parser.connection_made(self._transport)
        parser.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def shutdown(self) -> None:
        """Closes the connection; uvicorn calls this when the server ends."""
        self._transport.close()

    def _leave(self) -> None:
        self._timeout.cancel()
        self._connections.discard(self)


def _refuse(transport: Any) -> None:
    """Answers with 503, and closes the connection later, at once if many newer ones are refused.

    To close before a request is read would reset the connection, and lose the answer.
    """
    transport.set_protocol(asyncio.Protocol())  # which ignores what is asked
    transport.write(_REFUSAL)
    timer = asyncio.get_running_loop().call_later(1, transport.close)
    _refused.append((transport, timer))
    if len(_refused) > MOST_REFUSED:
        oldest, timer = _refused.popleft()
        timer.cancel()
        oldest.close()


class _TimedParser(H11Protocol):
    """A connection that is closed if the head of its first request does not come."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timeout = self.loop.call_later(SILENT_SECONDS, self._close_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._timeout.cancel()

    def _close_if_silent(self) -> None:
        if self.cycle is None:  # no request has begun
            self.transport.close()


class BodyLimit:
    """ASGI middleware that refuses requests whose body has more than `most` bytes."""

    def __init__(self, app: Any, most: int):
        self._app, self._most = app, most

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._most:
            await self._refuse(send)
            return
        size, refused = 0, False

        async def counted() -> Any:
            nonlocal size, refused
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._most and not refused:  # of a body without a stated length
                refused = True
                await self._refuse(send)
            return {"type": "http.disconnect"} if refused else message

        async def unless_refused(message: Any) -> None:
            if not refused:
                await send(message)

        await self._app(scope, counted, unless_refused)

    async def _refuse(self, send: Any) -> None:
        text = f"The request has more than {self._most:,} bytes, the limit of this server"
        body = json.dumps({"error": text}).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})
