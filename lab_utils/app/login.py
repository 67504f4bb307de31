"""A name and a password before the app. Only requests of somebody who has logged in go further,
and it is checked before a body is read."""

import asyncio
import hmac
import secrets
from collections import OrderedDict
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lab_utils.app.limits import LOGIN_SECONDS, LOGINS_KEPT, LOGINS_WAITING
from lab_utils.middleware import json_refusal

COOKIE = "lab-app"
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Log in</title><link rel="icon" href="data:,">
<style>body{{font:1.1rem system-ui,sans-serif;max-width:20rem;margin:4rem auto;padding:0 1rem}}
label,input,button{{display:block;width:100%;box-sizing:border-box;font:inherit;margin:.4rem 0}}
input,button{{padding:.5rem}}</style>
<h1>Log in</h1><p role="alert">{said}</p><form method="post" action="login">
<label>Name <input name="username" autocomplete="username" required autofocus></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required>
</label><button>Log in</button></form></html>"""


class Login:
    """Who may use the app.

    Wrong passwords are slow: after one, the next attempt of anybody is checked half a second
    later, so nobody guesses faster than two a second, from however many addresses.

    Args:
        users: names with their passwords.
    """

    def __init__(self, users: dict[str, str]) -> None:
        self._users = users
        self._sessions: OrderedDict[str, None] = OrderedDict()
        self._checking = asyncio.Lock()
        self._waiting = 0
        self._next = 0.0

    def knows(self, scope: Scope) -> bool:
        """Whether a request comes from somebody who has logged in."""
        return Request(scope).cookies.get(COOKIE, "") in self._sessions

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI application: the form, and what becomes of it."""
        request = Request(scope, receive)
        if scope["path"].rstrip("/") != "/login" or request.method != "POST":
            response: Response = HTMLResponse(_PAGE.format(said=""))
        else:
            response = await self._log_in(request)
        await response(scope, receive, send)

    async def _log_in(self, request: Request) -> Response:
        form = await request.form(max_files=0)
        name, password = form.get("username"), form.get("password")
        wants_page = "text/html" in request.headers.get("accept", "")
        if self._waiting >= LOGINS_WAITING:
            busy = json_refusal(503, "Too many people are logging in; try again in a minute.")
            busy.headers["retry-after"] = "60"
            return busy
        self._waiting += 1
        try:
            is_right = await self._is_right(str(name or ""), str(password or ""))
        finally:
            self._waiting -= 1
        if not is_right:
            said = "The name or the password is wrong."
            page = HTMLResponse(_PAGE.format(said=escape(said)), 400)
            return page if wants_page else json_refusal(400, said)
        session = secrets.token_urlsafe(32)
        self._sessions[session] = None
        while len(self._sessions) > LOGINS_KEPT:
            self._sessions.popitem(last=False)
        response = RedirectResponse("./", 303) if wants_page else JSONResponse({"success": True})
        response.set_cookie(COOKIE, session, httponly=True, samesite="lax")
        return response

    async def _is_right(self, name: str, password: str) -> bool:
        async with self._checking:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(self._next - loop.time())
            expected = self._users.get(name)
            is_right = hmac.compare_digest((expected or "").encode(), password.encode())
            if expected is None or not is_right:
                self._next = loop.time() + LOGIN_SECONDS
                return False
            return True


class LoginFirst:
    """ASGI middleware: the app for those who have logged in, the form for the others.

    Args:
        app: the application.
        login: who has logged in.
        form: `login.answer` behind limits of its own.
    """

    def __init__(self, app: ASGIApp, login: Login, form: ASGIApp) -> None:
        self._app, self._login, self._form = app, login, form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_known = scope["type"] != "http" or self._login.knows(scope)
        if not is_known and scope["path"] == "/" or scope.get("path") in ("/login", "/login/"):
            await self._form(scope, receive, send)
        elif is_known:
            await self._app(scope, receive, send)
        else:
            refusal = json_refusal(401, "Not authenticated: log in at /login first.")
            refusal.headers["connection"] = "close"
            await refusal(scope, receive, send)
