"""The one place through which a link reaches the app: it asks for the login and relays.

ngrok could ask for a password itself, ssh could not, and neither could give the app a Host header
that it takes without opening it to others. One gate of our own on 127.0.0.1 does both for both
ways, on every plan of ngrok, and it is the same in tests as on the internet. Requests and answers
are passed on piece by piece, so large files and streams of events need no memory.
"""

import asyncio
import contextlib
import secrets
import socket
import threading

import h11

from lab_utils.tunnel.errors import TunnelError
from lab_utils.tunnel.headers import Names, get
from lab_utils.tunnel.login import Login
from lab_utils.tunnel.wire import Wire

LOOPBACK = "127.0.0.1"

MARK = "x-lab-tunnel"
"""Header of every answer that passed the gate, its own ones included: where it is missing, the link
does not lead here. Its value is made anew for each gate."""

MAX_CONNECTIONS = 256
IDLE_SECONDS = 75.0
"""Time for a request's head, and between two requests."""

WRONG_LOGIN_SECONDS = 0.5
"""A wrong password is answered that late, against guessing."""

_START_SECONDS = 20
_ACCEPT_AGAIN_SECONDS = 0.1
_DRAINED_BYTES = 32 * 2**20
_DRAIN_SECONDS = 5.0
_CHALLENGE = (b"www-authenticate", b'Basic realm="Handwriting reader", charset="UTF-8"')


class Gate:
    """A relay from a free port of 127.0.0.1 to the app's; answers from a thread of its own.

    Args:
        app_port: the app's port on 127.0.0.1.
        login: what visitors have to give; None for a link that is open to all.
    """

    def __init__(self, app_port: int, login: Login | None) -> None:
        self.mark = secrets.token_hex(8)
        self._app_port, self._login = app_port, login
        self._names: Names | None = None
        self._listening = socket.create_server((LOOPBACK, 0), backlog=128)
        self.port: int = self._listening.getsockname()[1]
        self._visitors: set[asyncio.Task] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tunnel gate", daemon=True)

    def start(self) -> None:
        """Answers from now on: nobody yet, until `open_to` says under which address."""
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise TunnelError("The tunnel's gate did not start; try again.")

    def open_to(self, public_url: str) -> None:
        """Lets those in who ask under this address, and nobody else."""
        self._names = Names(public_url, f"{LOOPBACK}:{self._app_port}")

    def stop(self) -> None:
        """Ends all connections; can be called twice."""
        if self._loop is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has ended in between
                self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join()
        self._listening.close()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        self._listening.setblocking(False)
        accepting = asyncio.create_task(self._accept())
        self._ready.set()
        await self._ended.wait()
        accepting.cancel()  # the connections are cancelled with the loop

    async def _accept(self) -> None:
        while True:
            try:
                connection, _ = await self._loop.sock_accept(self._listening)
            except OSError:  # too many files are open: some will be closed
                await asyncio.sleep(_ACCEPT_AGAIN_SECONDS)
                continue
            task = asyncio.create_task(self._meet(connection))
            self._visitors.add(task)  # the loop alone would let go of it
            task.add_done_callback(self._visitors.discard)

    async def _meet(self, connection: socket.socket) -> None:
        visitor = Wire(connection, h11.SERVER)
        try:
            while await self._answer(visitor):
                visitor.state.start_next_cycle()
        except h11.RemoteProtocolError as error:
            with contextlib.suppress(h11.LocalProtocolError, OSError):
                await self._refuse(visitor, error.error_status_hint, "This is no HTTP request.")
        except (OSError, TimeoutError, h11.LocalProtocolError):
            pass  # one of the two has gone
        finally:
            visitor.close()

    async def _answer(self, visitor: Wire) -> bool:
        """Answers one request; False where the connection is of no more use."""
        async with asyncio.timeout(IDLE_SECONDS):
            request = await visitor.receive()
        if not isinstance(request, h11.Request):
            return False
        refusal = await self._refusal(request)
        if refusal is not None:
            await self._refuse(visitor, *refusal)
        else:
            await self._relay(visitor, request)
        await _drain(visitor)
        return visitor.state.our_state is h11.DONE and visitor.state.their_state is h11.DONE

    async def _refusal(self, request: h11.Request) -> tuple | None:
        host = get(request.headers, b"host") or b""
        if self._names is None or len(self._visitors) > MAX_CONNECTIONS:
            return 503, "The link is not ready; try again in a few seconds."
        if not self._names.is_public(host):
            return 403, "This is not the name of the link; ask under its address."
        if self._login is not None:
            header = get(request.headers, b"authorization")
            if not self._login.is_in(header):
                if header is not None:
                    await asyncio.sleep(WRONG_LOGIN_SECONDS)
                return 401, "The link asks for a name and a password.", _CHALLENGE
        return None

    async def _refuse(
        self, visitor: Wire, status: int, sentence: str, *headers: tuple[bytes, bytes]
    ) -> None:
        body = f"{sentence}\n".encode()
        answer = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            *headers,
            self._marked,
        ]
        await visitor.send(h11.Response(status_code=status, headers=answer))
        await visitor.send(h11.Data(data=body))
        await visitor.send(h11.EndOfMessage())

    @property
    def _marked(self) -> tuple[bytes, bytes]:
        return MARK.encode(), self.mark.encode()

    async def _relay(self, visitor: Wire, request: h11.Request) -> None:
        app = Wire(socket.socket(), h11.CLIENT)
        try:
            try:
                await app.connect((LOOPBACK, self._app_port))
            except OSError:
                await self._refuse(visitor, 502, "The app behind this link is not running.")
                return
            headers = self._names.towards_app(request.headers, self._login is not None)
            await app.send(
                h11.Request(method=request.method, target=request.target, headers=headers)
            )
            await self._exchange(visitor, app)
        finally:
            app.close()

    async def _exchange(self, visitor: Wire, app: Wire) -> None:
        """Passes the body on and the answer back, until it is whole or one of the two leaves."""
        ask = asyncio.create_task(_pass_request(visitor, app))
        answer = asyncio.create_task(self._pass_answer(app, visitor))
        try:
            await asyncio.wait({ask, answer}, return_when=asyncio.FIRST_COMPLETED)
            if ask.done() and not answer.done():
                visitor_left = ask.result()
                if visitor_left:
                    return
                await answer
            switched = answer.result()
        finally:
            for task in (ask, answer):
                task.cancel()
            await asyncio.gather(ask, answer, return_exceptions=True)
        if switched:
            await _splice(visitor, app)

    async def _pass_answer(self, app: Wire, visitor: Wire) -> bool:
        """Returns True where both sides go on in another protocol."""
        began = False
        try:
            while True:
                event = await app.receive()
                if isinstance(event, h11.InformationalResponse | h11.Response):
                    headers = self._names.towards_visitor(event.headers)
                    switches = event.status_code == 101
                    if switches:
                        upgrade = get(event.headers, b"upgrade") or b""
                        headers += [(b"connection", b"upgrade"), (b"upgrade", upgrade)]
                    elif isinstance(event, h11.InformationalResponse):
                        continue
                    headers = [pair for pair in headers if pair[0] != MARK.encode()]
                    began = True
                    await visitor.send(
                        type(event)(
                            status_code=event.status_code,
                            headers=[*headers, self._marked],
                            reason=event.reason,
                        )
                    )
                    if switches:
                        return True
                elif isinstance(event, h11.Data):
                    await visitor.send(h11.Data(data=event.data))
                elif isinstance(event, h11.EndOfMessage):
                    await visitor.send(h11.EndOfMessage())
                    return False
                else:
                    raise ConnectionResetError("the app hung up")
        except (h11.RemoteProtocolError, ConnectionError):
            if began:  # all that can be done is to break off
                raise ConnectionResetError("the answer was cut off") from None
            await self._refuse(visitor, 502, "The app behind this link broke off; try again.")
            return False


async def _pass_request(visitor: Wire, app: Wire) -> bool:
    """Passes a request's body on; True where the visitor has left, False where the app takes no
    more of it."""
    try:
        while True:
            event = await visitor.receive()
            if isinstance(event, h11.Data):
                await app.send(h11.Data(data=event.data))
            elif isinstance(event, h11.EndOfMessage):
                await app.send(h11.EndOfMessage())
                break
            else:
                return True
    except ConnectionError:
        return False
    await visitor.left()
    return True


async def _splice(visitor: Wire, app: Wire) -> None:
    """Passes the bytes of another protocol on, both ways, until both sides have ended."""

    async def one_way(source: Wire, target: Wire) -> None:
        await target.send_raw(source.state.trailing_data[0])
        while data := await source.take_raw():
            await target.send_raw(data)
        target.end_raw()

    ways = [asyncio.create_task(one_way(visitor, app)), asyncio.create_task(one_way(app, visitor))]
    try:
        await asyncio.gather(*ways)
    finally:
        for way in ways:
            way.cancel()


async def _drain(visitor: Wire) -> None:
    """Reads what is left of a request that was answered before its end, within limits.

    A visitor who is still sending sees a broken connection otherwise, and not the answer.
    """
    left = _DRAINED_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while left > 0 and visitor.state.their_state is h11.SEND_BODY:
                event = await visitor.receive()
                left -= len(event.data) if isinstance(event, h11.Data) else 0
