"""A name and a password before the app. Only requests of somebody who has logged in go further,
and it is checked before a body is read."""

import secrets
from collections import OrderedDict
from collections.abc import Collection

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lab_utils.app.frontend import part
from lab_utils.app.limits import LOGIN_BYTES, LOGINS_KEPT
from lab_utils.logins import RETRY, TOO_MANY, Login, LoginQueue, LoginQueueFullError
from lab_utils.middleware import RequestLimits, json_refusal

COOKIE = "lab-app"
_WRONG = "The name or the password is wrong."


class LoginFirst:
    """ASGI middleware: the app for those who have logged in, the form for the others.

    Args:
        app: the application.
        login: name and password.
        hosts: names under which the form may be asked, see RequestLimits.
    """

    def __init__(self, app: ASGIApp, login: Login, hosts: Collection[str] = ()) -> None:
        self._app, self._login = app, login
        self._form = RequestLimits(self._answer, most_bytes=LOGIN_BYTES, hosts=hosts)
        self._sessions: OrderedDict[str, None] = OrderedDict()
        self._queue = LoginQueue()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, is_known = scope["path"], Request(scope).cookies.get(COOKIE, "") in self._sessions
        if path in ("/login", "/login/") or (path == "/" and not is_known):
            await self._form(scope, receive, send)
        elif is_known:
            await self._app(scope, receive, send)
        else:
            message, close = "Not authenticated: log in at /login first.", {"connection": "close"}
            await json_refusal(401, message, close)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The form, and what becomes of it."""
        request = Request(scope, receive)
        is_sent = scope["path"] != "/" and request.method == "POST"
        response = await self._log_in(request) if is_sent else _form()
        await response(scope, receive, send)

    async def _log_in(self, request: Request) -> Response:
        form = await request.form(max_files=0)
        given = f"{form.get('username') or ''}:{form.get('password') or ''}".encode()
        wants_page = "text/html" in request.headers.get("accept", "")
        try:
            is_right = await self._queue.check(lambda: self._login.is_right(given))
        except LoginQueueFullError:
            return json_refusal(429, TOO_MANY, RETRY)
        if not is_right:
            return _form(_WRONG) if wants_page else json_refusal(400, _WRONG)
        session = secrets.token_urlsafe(32)
        self._sessions[session] = None
        while len(self._sessions) > LOGINS_KEPT:
            self._sessions.popitem(last=False)
        response = RedirectResponse("./", 303) if wants_page else JSONResponse({"success": True})
        response.set_cookie(COOKIE, session, httponly=True, samesite="lax")
        return response


def _form(wrong: str = "") -> Response:
    page = part("login.html").replace("<!-- what went wrong -->", wrong)
    return HTMLResponse(page, 400 if wrong else 200)
