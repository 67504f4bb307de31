"""Other programs: the browser of the tests, OpenSSH, npm, and ngrok's agent with its token."""

import os
import shutil

from lab_utils.doctor.finding import Finding, note, ok

CHROMIUM = ("chromium", "chromium-browser")


def check_browser() -> Finding:
    """The browser in which the tests use the page."""
    named = os.environ.get("CHROMIUM")
    path = next(filter(None, map(shutil.which, (named,) if named else CHROMIUM)), None)
    if path is None:
        found = f"CHROMIUM names {named}, which is not there" if named else "no Chromium"
        found = f"{found}; tests that need it are skipped"
        return note("browser", found, "apt-get install chromium, or set CHROMIUM")
    return ok("browser", path)


def check_ssh() -> Finding:
    """OpenSSH, for a public link through your own host."""
    path = shutil.which("ssh")
    if path is None:
        return note("ssh", "no OpenSSH for `lab tunnel --ssh`", "apt-get install openssh-client")
    return ok("ssh", path)


def check_npm() -> Finding:
    """npm, which fetches the fonts."""
    path = shutil.which("npm")
    if path is None:
        return note("npm", "not installed; `lab fonts` needs it", "apt-get install npm")
    return ok("npm", path)


def check_ngrok() -> Finding:
    """ngrok's agent."""
    from lab_utils.tunnel.ngrok import AGENT_VARIABLE, cached_agent

    named = os.environ.get(AGENT_VARIABLE)
    path = named or cached_agent()
    if named and not os.path.isfile(named):
        found = f"{AGENT_VARIABLE} names {named}, which is not there"
        return note("ngrok", found, f"unset {AGENT_VARIABLE}")
    if not os.path.isfile(path):
        return note("ngrok", "its agent is not downloaded yet", "lab tunnel downloads it (network)")
    if not os.access(path, os.X_OK):
        return note("ngrok", f"its agent {path} is not executable", f"chmod +x '{path}'")
    return ok("ngrok", str(path))


def check_token() -> Finding:
    """Whether there is an ngrok token; it is never shown."""
    from lab_utils.tunnel.token import TOKEN_PAGE, VARIABLE, is_token

    token = os.environ.get(VARIABLE, "").strip()
    if not token:
        remedy = f"set it to the one from {TOKEN_PAGE}, or use lab tunnel --ssh user@host"
        return note("token", f"{VARIABLE} is not set; `lab tunnel` asks for a token", remedy)
    if not is_token(token):
        return note("token", f"{VARIABLE} does not hold a token", f"copy yours from {TOKEN_PAGE}")
    return ok("token", f"{VARIABLE} is set (not shown, not tested)")
