# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A public HTTPS link
#
# **Time:** 115 minutes
#
# **You will learn**
#
# - what an address and a port are, and who can reach a server;
# - what HTTPS hides and what it doesn't, and where the encryption of a tunnel ends;
# - how a machine that nobody can reach gets a public link, with ngrok or a host of your own;
# - how a link asks for a password, and how it keeps strangers and other sites' pages out;
# - how to tell a dead tunnel from a dead app;
# - which way to use for an hour, for a week or for good, and what the terms of Colab allow.

# %% tags=["setup"]
# The set-up cell: `lab notebooks build` fills it in.

# %% [markdown]
# ## An app that only this machine can reach
#
# The [web app](05_gradio_app.ipynb) reads handwriting for anyone who opens its page. So far, that
# is only you. Now somebody else should try it today, on a phone, over the mobile network, but the
# app runs on a laptop behind a home router, or in a notebook on Colab. Start it once more:

# %%
import base64
import itertools
import json
import socket
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from lab_utils.figures import boxes, show, show_table
from lab_utils.lessons.public_url import checks

PAGE = "data/pages/show_font_014.jpg"

# %%
import ipaddress

from lab_utils.app import make_frontend
from lab_utils.model import packaged_recognizer

frontend = make_frontend(packaged_recognizer())
_, app_url, _ = frontend.launch(inline=False)
app_port = frontend.server_port
with urlopen(app_url) as reply:
    print(reply.status, "from this machine")

# %% [markdown]
# ## 1. Addresses and ports
#
# An **address** names one of a machine's network interfaces; most machines have several. A
# **port**, a number up to 65535, names a program on that machine. A server *listens* on an address
# and a port, and anyone who sends to exactly this pair reaches it. So the address that a server
# listens on decides who can reach it:
#
# | it listens on | who can reach it |
# |---|---|
# | 127.0.0.1, or ::1 in IPv6 (**loopback**) | programs on this machine, nobody else |
# | 192.168.1.20, 10.0.0.7, ... | everyone in that one network, and this machine |
# | 0.0.0.0, or :: in IPv6 | all of these: it stands for *every* address that the machine has |
#
# No machine has the address 0.0.0.0. A server that listens on it takes requests at every address of
# its machine, and many servers do so by default. In a café, all laptops at the other tables can
# then open your notebook. (A server on :: usually takes IPv4 as well.) Try the first row with a
# real server. All addresses that start with 127 belong to this machine, but they are different
# addresses. Before you run it: at which of these three addresses does it answer?


# %%
def reaches(address: str, port: int) -> str:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return "nobody answers"
    return "reached"


with socket.create_server(("127.0.0.1", 0)) as server:  # port 0: any that is free
    for address in ("127.0.0.1", "127.0.0.2", "::1"):
        print(f"{address}: {reaches(address, server.getsockname()[1])}")

# %% [markdown]
# None of this helps the phone. Machines in home networks and at Colab have *private* addresses,
# which are the same in many other homes. The router has the one public address, and lets in only
# answers to requests from inside. That is good, and it can stay that way: a tunnel needs no open
# port. (Another trap: on the phone, 127.0.0.1 is the phone.)
#
# Ask the system where a program listens, rather than the program: `ss -tln` on Linux, `lsof -i -P`
# on a Mac, or `netstat -an` list all servers with their addresses. Or just try to connect. Before
# you run the cell: on which of the three addresses does the app answer?

# %%
for address in ("127.0.0.1", "127.0.0.2", "::1"):
    print(f"the app at {address}: {reaches(address, app_port)}")

# %% [markdown]
# ## 2. What a request shows on its way
#
# Before anything leaves this machine: what can the machines in between see? The next cell is such a
# machine. It listens, and a client with a password sends it a request by plain HTTP. Before you run
# it: will the password be readable?

# %%
from http.client import HTTPConnection

secret = base64.b64encode(b"guest:correct horse").decode()
headers = {"Host": "lab.example.org", "Authorization": f"Basic {secret}"}
with socket.create_server(("127.0.0.1", 0)) as on_the_way:
    client = HTTPConnection(*on_the_way.getsockname())
    client.request("GET", "/letters/2026", headers=headers)
    overheard = on_the_way.accept()[0].recv(4096).decode()
    client.close()
print("\n".join(overheard.split("\r\n")))

# %% [markdown]
# The machines in between see all of it: the page, and the line `Authorization`. That line may look
# encrypted, but it is base64, and anyone can decode it:

# %%
line = next(line for line in overheard.split("\r\n") if line.startswith("Authorization"))
print(base64.b64decode(line.split()[-1]).decode())

# %% [markdown]
# **HTTPS** is the same HTTP inside TLS, which does two things. It *encrypts*: the two ends agree on
# a key that nobody on the way learns. And it *proves who is at the other end*; without that,
# encryption is worth little, because you could have agreed on a key with the wrong server. For
# that, the server shows a **certificate**: "this key belongs to lab.example.org", signed by an
# authority that browsers know. The authority has checked that the applicant controls the name. A
# client must check the signature, the dates and the name, and Python does so unless somebody
# switches it off:

# %%
import ssl

trust = ssl.create_default_context()
print("certificate:", trust.verify_mode.name)
print("name is checked:", trust.check_hostname)

# %% [markdown]
# Here is the first message of a TLS connection, caught before it is sent. Before you run it: does
# it contain the server's name? The page or the password?

# %%
answers, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
connection = trust.wrap_bio(answers, sent, server_hostname="lab.example.org")
try:
    connection.do_handshake()
except ssl.SSLWantReadError:
    hello = sent.read()
print("the server's name:", b"lab.example.org" in hello)
print("page or password:", b"letters" in hello or secret.encode() in hello)

# %% [markdown]
# It contains the server's name (one server may have certificates for many names), and nothing of
# the request. Pages and passwords are sent only after both sides have the key. So the machines in
# between learn *that* you use lab.example.org, when, and how much, but not what for.
#
# To get a certificate, you need a public name and a server that answers there. A laptop has
# neither. The tunnel's server, which comes next, has both.

# %% [markdown]
# ## 3. A tunnel
#
# The router only lets answers in. So start from inside: an **agent** on this machine opens a
# connection to a server with a public address, and keeps it open. Visitors reach that server by
# HTTPS, and it sends their requests through the open connection. The agent passes them to a port on
# 127.0.0.1. There the lab's **gate** asks for a name and a password, before it passes a request on
# to the app.

# %%
stations = {
    "a phone": ["sends HTTPS"],
    "tunnel's server": ["public address", "ends TLS"],
    "the agent": ["on this machine", "called out first"],
    "the gate": ["name, password"],
    "the app": ["127.0.0.1"],
}

# %%
show(
    boxes(stations, list(itertools.pairwise(stations)), "A request through a tunnel"),
    "Figure 1. How a visitor's request passes a tunnel. The connection was opened from inside.",
    "A phone sends HTTPS to the tunnel's server, which has the public address. The agent on this "
    "machine had called that server; along this connection requests come to the gate, which asks "
    "for name and password, and then to the app on 127.0.0.1.",
    width=800,
)

# %% [markdown]
# [ngrok](https://ngrok.com) runs such servers; its agent is a program, and
# [pyngrok](https://pyngrok.readthedocs.io) fetches and starts it from Python. ngrok requires an
# account, because someone must be responsible for what the link shows. Put the account's token into
# the variable `NGROK_AUTHTOKEN` or into Colab's secrets (the key symbol on the left). Never put it
# in a cell: notebooks are passed on.
#
# **What you may do on Colab:** its [FAQ](https://research.google.com/colaboratory/faq.html)
# disallows web services that are not related to interactive compute with Colab. A link for a few
# minutes, to try on your phone what this notebook computes, is fine; serving other people from
# Colab isn't allowed, and you may lose access. Close the link when you have tried it. To show an
# app to people, run it on your own machine, or see section 8.
#
# The next cell opens a link to the app if it can, and otherwise says what is missing.

# %% tags=["timing"]
from lab_utils.tunnel import TunnelError, open_link
from lab_utils.tunnel.qr import qr_picture

public = None
try:
    public = open_link(app_port)
    print(f"{public.url}  name: {public.user}  password: {public.password}")
    show(qr_picture(public.url), "Point your phone's camera here.", "A QR code of the link.", 220)
except TunnelError as error:
    print(f"There is no public link now. {error}")

# %% [markdown]
# Open the link on a phone, with its Wi-Fi off, and read your own handwriting. With a free account,
# ngrok first shows visitors its own page.
#
# (The stored solutions show no link, because a link with its password should not be kept.) The rest
# of the notebook needs no account and no network, and shows *both* ends of a tunnel. Its server is
# on this machine ([`loopback.py`](../lab_utils/lessons/public_url/loopback.py)): `FarEnd` has the
# address, and `LoopbackWay` is the agent that calls out. Everything behind the agent, from the gate
# to the app, is the same as with the public link. Only HTTPS is missing, since nothing leaves the
# machine.

# %%
from lab_utils.lessons.public_url.loopback import FarEnd

far_end = FarEnd()

# %% [markdown]
# ### Exercise 1: Open a way in, and shut strangers out (15 minutes)
#
# Difficulty ●●●○○ · Importance ●●●●●
#
# Open a tunnel to the app through `far_end`, and return it open. It must ask for the name `user`
# and for a password of at least 16 characters that nobody can guess: a new one for each link. The
# check visits your link as a stranger without a password, as one who guesses, and as the guest.

# %% tags=["exercise"]
import secrets

from lab_utils.lessons.public_url.loopback import FarEnd, LoopbackWay
from lab_utils.tunnel import Login, Tunnel


def open_way_in(app_port: int, far_end: FarEnd, user: str) -> Tunnel:
    """An open link to the app that lets in one guest.

    Args:
        app_port: the app's port on 127.0.0.1.
        far_end: the tunnel's server; `LoopbackWay(far_end)` is an agent of it.
        user: the name that the link asks for.
    """
    ### BEGIN SOLUTION
    login = Login(user, secrets.token_urlsafe(16))
    return Tunnel(app_port, LoopbackWay(far_end), login)
    ### END SOLUTION


# %% tags=["check"]
checks.open_way_in(open_way_in)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `help(Tunnel)` shows its arguments: the app's port, the way (here, the agent), and the login.
# Without a login, the link is open to everyone. `secrets.token_urlsafe(n)` makes a random text from
# `n` bytes, about 1.3 characters for each. The random numbers of `random` can be predicted, so they
# can't serve as a secret.
#
# </details>

# %%
tunnel = open_way_in(app_port, far_end, "guest")
link = tunnel.url + "/"
print(f"name {tunnel.user}, a random password of {len(tunnel.password)} characters")

# %% [markdown]
# Where does the encryption end? Where the certificate is: **at the tunnel's server**. It decrypts
# what the visitor sent and encrypts it again for the agent's connection. In between, the server can
# read everything, including passwords and handwriting. Every tunnel that adds HTTPS to a plain app
# works like this, so the question is whom you trust:
#
# | way | from the visitor | in the middle, where everything can be read | to this machine |
# |---|---|---|---|
# | http, no tunnel | open | the network's routers | open |
# | ngrok | encrypted | ngrok's server | encrypted |
# | Gradio's share link | encrypted | Gradio's server | encrypted |
# | ssh, no proxy | open | your host | encrypted |
# | ssh, HTTPS proxy | encrypted | your host | encrypted |

# %% [markdown]
# ## 4. A password
#
# A public link reaches more people than you gave it to: it is in chats, in browser histories, in
# the log of a proxy. And if you use a name of your own, it is published as soon as it has a
# certificate, in a log that robots read; they come within minutes. So the lab's links ask for a
# name and a password, unless you say `--auth none`. To choose your own, set the variable
# `LAB_TUNNEL_AUTH=NAME:PASSWORD`: all users of a machine can read a command line, but not a
# variable.
#
# **Basic authentication** is the oldest method and works everywhere: in browsers, curl and scripts.
# The client sends `Authorization: Basic` and the base64 of `name:password`, with *every* request.
# Without it, or with a wrong one, the answer is **401** with a header that makes a browser ask.
# Base64 hides nothing, so use it only with HTTPS.
#
# The comparison itself is a trap. `==` stops at the first character that differs, so an attacker
# who times many answers carefully finds a password character by character. `hmac.compare_digest`
# takes the same time wherever the difference is.

# %% [markdown]
# ### Exercise 2: Check a name and a password (10 minutes)
#
# Difficulty ●●●○○ · Importance ●●●●●
#
# Say whether a request's `Authorization` header holds this name and password. Strangers may send
# anything; the answer must then be `False`, never an exception. Upper and lower case are the same
# in the scheme's name (`basic` is fine). Passwords may contain colons and letters beyond ASCII,
# which are sent as UTF-8.

# %% tags=["exercise"]
import hmac


def check_basic_auth(header: str | None, user: str, password: str) -> bool:
    """Whether the header is the right one.

    Args:
        header: value of Authorization, such as "Basic Z3Vlc3Q6c2VjcmV0"; None if there is none.
    """
    ### BEGIN SOLUTION
    scheme, _, text = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return hmac.compare_digest(given, f"{user}:{password}".encode())
    ### END SOLUTION


# %% tags=["check"]
checks.check_basic_auth(check_basic_auth)

# %% [markdown]
# <details><summary>Hint</summary>
#
# You don't have to take the pair apart: put the right one together, as bytes, and compare the
# whole. `b64decode(..., validate=True)` raises `ValueError` for anything that isn't base64,
# including letters beyond ASCII. `compare_digest` takes two `bytes`; it takes two `str` only if
# both are ASCII. `None or ""` is `""`.
#
# </details>

# %% [markdown]
# Compare your answer with that of the gate, the lab's authentication proxy between every link and
# the app ([`auth_proxy.py`](../lab_utils/tunnel/auth_proxy.py)). Before you run the second cell:
# which status does each of the four visitors get?


# %%
def status(url: str, headers: dict[str, str]) -> int:
    try:
        with urlopen(Request(url, headers=headers), timeout=60) as reply:
            return reply.status
    except HTTPError as error:
        return error.code


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# %%
strangers = {"no header": None, "a guess": basic("guest", "guest"), "another scheme": "Bearer x"}
visitors = strangers | {"the right one": basic(tunnel.user, tunnel.password)}
for who, header in visitors.items():
    gate = status(link, {"Authorization": header} if header else {})
    print(f"{who}: yours {check_basic_auth(header, tunnel.user, tunnel.password)}, gate {gate}")

# %% [markdown]
# The gate protects everything behind it, the page and the API. A program with the password reads a
# page through the tunnel:

# %%
page = base64.b64encode(Path(PAGE).read_bytes()).decode()
headers = {"Content-Type": "application/json", "Authorization": visitors["the right one"]}
endpoint = link + "gradio_api/run/predict_base64"
with urlopen(Request(endpoint, json.dumps({"data": [page]}).encode(), headers)) as reply:
    print(json.load(reply)["data"][0])

# %% [markdown]
# How good must a password be? At the gate, wrong logins wait in one queue: it checks two passwords
# a second, no matter how many connections guess. On average, a guesser tries half of all
# possibilities. Before you run it: which of the four passwords lasts longer than a year?

# %%
passwords = {
    "4 digits": 10**4,
    "8 small letters": 26**8,
    "a word of 100,000 and 2 digits": 100_000 * 10**2,
    "made by the lab, 12 random bytes": 2**96,
}
rows = [[what, f"{count / 2 / 2 / 86_400:.2g}"] for what, count in passwords.items()]
show_table(rows, ["password", "days to guess"], "Table 1. How long guessing takes at the gate.")

# %% [markdown]
# 600,000 days are more than 1,600 years, so random letters as in the second row are enough against
# guessing here; the third row isn't. The gate limits the guesses; with a *file* of password hashes
# in hand, an attacker could try a billion a second. A shared password has other weaknesses: you
# can't tell who came, and you can't revoke it for just one person. And it doesn't protect against
# those who have it, so the limits of the app still matter ([notebook 05](05_gradio_app.ipynb)).

# %% [markdown]
# ## 5. The Host header: under which name?
#
# A server on 127.0.0.1 can be reached by programs on this machine, and *one of these is your
# browser*, which runs the scripts of every page that you open. A browser doesn't let a page read
# the answers of other sites, and it tells sites apart by name. This is how a page gets around that:
#
# 1. You open `http://evil.example`, and its page is loaded from a server on the internet.
# 2. Its owner also runs the name server, which now gives 127.0.0.1 as the address of
#    `evil.example`.
# 3. The page asks `http://evil.example:7860/...`. For the browser that is the same site; the
#    request goes to *your* app, and the page reads the answer.
#
# This is **DNS rebinding**; you met it in [notebook 06](06_model_service.ipynb), in a service that
# fetches addresses. A local app usually has no password that could help. But the request contains
# the name that it was made for: `Host: evil.example:7860`. A local server should answer to its own
# names and refuse all others. A tunnel's gate does the same with the link's name.

# %% [markdown]
# ### Exercise 3: Answer only to your own names (10 minutes)
#
# Difficulty ●●●○○ · Importance ●●●●○
#
# Say whether a request with this `Host` header may be answered: the host is one of `allowed`, or
# `localhost`, or an address in numbers (no name server is asked about it, so nobody can rebind it).
# It may have a port; IPv6 addresses are in brackets; upper and lower case are the same, and a dot
# at the end of a name (`lab.example.org.`) changes nothing.

# %% tags=["exercise"]
from urllib.parse import urlsplit


def host_allowed(host: str | None, allowed: set[str]) -> bool:
    """Whether the request was made under a name of this server.

    Args:
        host: value of the header Host; None if there is none.
        allowed: names in small letters.
    """
    ### BEGIN SOLUTION
    try:
        name = (urlsplit(f"//{host or ''}").hostname or "").rstrip(".")
        if name in allowed or name == "localhost":
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
    ### END SOLUTION


# %% tags=["check"]
checks.host_allowed(host_allowed)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `urlsplit("//lab.example.org:80").hostname` takes care of ports, brackets, user names and case. It
# is `None` if there is no host; for unbalanced brackets, `urlsplit` raises `ValueError`. Compare
# whole names: `in`, `startswith` and `endswith` on a string aren't enough. `ipaddress.ip_address`
# raises `ValueError` for anything that isn't a numeric address.
#
# </details>

# %% [markdown]
# Before you run it: which of the four does the app refuse, and does your function agree?

# %%
for host in (f"localhost:{app_port}", "127.0.0.1", "evil.example", "lab.example.org"):
    answer = "200" if status(app_url, {"Host": host}) == 200 else "refused"
    name = host.split(":")[0]
    print(f"{name}: yours {host_allowed(host, set())}, the app {answer}")

# %% [markdown]
# The last one may be the name of a link, which the app doesn't know. If you run your own proxy in
# front, tell the app: `lab app --allow-host lab.example.org`. With `lab tunnel` there is no need:
# the gate knows the link's name, refuses others, and asks the app under the app's own.

# %% [markdown]
# ## 6. When a link fails: find the part that failed
#
# "Your link does not work", somebody writes. A request passes five stations, and it helps to know
# which one to look at. What comes back depends on which one is missing (the mark is explained below
# the table):
#
# | a request passes | if it is missing |
# |---|---|
# | the network | no answer |
# | the tunnel's server | no answer |
# | the agent | an answer without the mark |
# | the gate | an answer without the mark |
# | the app | 502 with the mark |
#
# The trick is a **mark**: the gate puts the header `X-Lab-Tunnel` on everything that passes, its
# own refusals included. An answer *with* it comes from here. One *without* it comes from another
# server, whatever its status: ngrok's error page (`ERR_NGROK_3200`: no agent is there), a proxy's,
# or the log-in page of a hotel, which says 200. A check that only wants 200 would call that
# healthy.

# %% [markdown]
# ### Exercise 4: Diagnose a link (20 minutes)
#
# Difficulty ●●●○○ · Importance ●●●●○
#
# Send the link one request, with `GET` and, if there is a login, with basic authentication. Return
#
# - `"no answer"`: no connection, no answer in time, or one that isn't HTTP;
# - `"dead tunnel"`: an answer without the header `X-Lab-Tunnel`, whatever its status;
# - `"login refused"`: 401 with the header;
# - `"healthy"`: 200 with the header;
# - `"dead app"`: any other status with the header.
#
# Your library may follow redirects: the app sends none at this address.

# %% tags=["exercise"]
from http.client import HTTPException


def diagnose(url: str, login: tuple[str, str] | None = None, timeout: float = 10.0) -> str:
    """Which part of a link is broken.

    Args:
        url: the link.
        login: name and password.
        timeout: s to wait for an answer.
    """
    ### BEGIN SOLUTION
    request = Request(url)
    if login is not None:
        text = base64.b64encode(":".join(login).encode()).decode()
        request.add_header("Authorization", f"Basic {text}")
    try:
        with urlopen(request, timeout=timeout) as answer:
            status, marked = answer.status, "X-Lab-Tunnel" in answer.headers
    except HTTPError as answer:
        status, marked = answer.code, "X-Lab-Tunnel" in answer.headers
    except (OSError, HTTPException):
        return "no answer"
    if not marked:
        return "dead tunnel"
    return {200: "healthy", 401: "login refused"}.get(status, "dead app")
    ### END SOLUTION


# %% tags=["check"]
checks.diagnose(diagnose)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `urlopen` raises `HTTPError` from status 400 on, and that error *is* an answer, with `code` and
# `headers`; catch it first, as it is an `OSError`, too. No connection and no answer in time are
# `OSError`s. What isn't HTTP raises `http.client.HTTPException`. `"X-Lab-Tunnel" in answer.headers`
# says whether the header is there. Look at the mark before the status.
#
# </details>

# %% [markdown]
# Now break it, one part after another. One check has no password, like many monitors. Before you
# run it: what does each of the six lines say?

# %%
login = (tunnel.user, tunnel.password)
print("all is there:", diagnose(link, login))
print("a wrong password:", diagnose(link, ("guest", "guest")))
frontend.close()
print("without the app:", diagnose(link, login))
print("without the app, asked without a password:", diagnose(link))
tunnel.close()
print("without the agent:", diagnose(link, login))
far_end.close()
print("without the tunnel's server:", diagnose(link, login))

# %% [markdown]
# The fourth line is the blind spot: the gate asks for the password before it contacts the app, so a
# monitor without one only sees that the tunnel is up. A health check must do what users do.
#
# What can you do about it? The lab's tunnel replaces a dead *agent* itself: it looks twice a second
# and opens the link again, waiting longer each time. A dead *app* is restarted by what started it
# (section 8). If the *network* is dead, wait.
#
# If you opened a public link above, close it too: it now leads to an app that is gone.

# %% tags=["timing"]
if public is not None:
    print(diagnose(public.url, (public.user, public.password)))
    public.close()

# %% [markdown]
# ## 7. A link that a phone can scan
#
# Nobody types `https://3f1c-203-0-113-9.ngrok-free.app`. A **QR code** is text drawn as a picture,
# with enough redundancy that part of it may be covered. `lab tunnel` prints it in the terminal, and
# `qr_picture` draws it in a notebook.

# %%
show(
    qr_picture("https://lab.example.org/"),
    "Figure 2. A QR code of an address that leads nowhere; the white margin is part of the code.",
    "A QR code of https://lab.example.org/ in black on white.",
    width=200,
)

# %% [markdown]
# It holds the address and nothing else. Leave the password out: pictures of the code are passed on.
# And nobody can see where a code leads before scanning it, so print the address beside it when you
# hang it up.

# %% [markdown]
# ## 8. Other ways to publish an app
#
# **Gradio's share link.** `LAB_APP_AUTH=anna:a-long-password lab app --share`, or
# `launch(share=True)`. Gradio's agent does what ngrok's does, without an account, for a week at
# most, under a random name. Gradio's server ends the encryption. Without a login, everyone who has
# the link can use the app.
#
# **Cloudflare Tunnel.** `cloudflared tunnel --url http://127.0.0.1:7860` is an agent like ngrok's.
# It gives you a random name for trying things out, and a fixed one if you have a domain at
# [Cloudflare](https://developers.cloudflare.com/cloudflare-one/connections/connect-networks/).
#
# **Hugging Face Spaces.** Here no request reaches your machine: you push the Gradio app and the
# model to a repository, and it runs there ([its
# documentation](https://huggingface.co/docs/hub/spaces-sdks-gradio)).
#
# **A host of your own, with ssh.** Any rented machine with a public address can be the tunnel's
# server, and OpenSSH the agent: `-R` asks the host to listen, and passes on what arrives there.
#
# ```sh
# LAB_APP_AUTH=anna:a-long-password lab app --allow-host lab.example.org
# ssh -N -R 127.0.0.1:8080:127.0.0.1:7860 ada@host.example.org     # in another terminal
# ```
#
# The app asks for the login itself here, and has to know the link's name, since there is no gate.
# The host needs two lines of configuration. One is for its sshd (`/etc/ssh/sshd_config`):
#
# ```text
# AllowTcpForwarding remote
# ```
#
# The other is for Caddy (`/etc/caddy/Caddyfile`), a proxy that gets the certificate itself:
#
# ```text
# lab.example.org { reverse_proxy 127.0.0.1:8080 }
# ```
#
# Read the first address of `-R` with section 1 in mind: it is 127.0.0.1 *of the host*. Visitors
# reach only the proxy, with HTTPS, and only you can read along (last row of the table in section
# 3). The details are in [the tunnel's README](../lab_utils/tunnel/README.md).

# %% [markdown]
# **For good.** A laptop sleeps and Colab ends. A link that should work next week needs a machine
# that is always on, and something that restarts each part when it ends. With Docker, these are the
# parts of [`compose.yaml`](../deploy/compose.yaml):

# %%
import yaml

parts = yaml.safe_load(Path("deploy/compose.yaml").read_text())["services"]
rows = [[name, part["restart"], ", ".join(part.get("ports", []))] for name, part in parts.items()]
show_table(
    rows, ["part", "restart", "open port"], "Table 2. The parts of a demo that keeps running."
)

# %% [markdown]
# Only one port is open, and only on 127.0.0.1. Inside a container, a server must listen on 0.0.0.0
# to be reached at all; the address *before* the port in `127.0.0.1:7860:7860` decides who can reach
# it. Without it, Docker opens the port on every network, past many firewalls. The script for a
# machine at AWS (EC2) does the same with systemd and docker:

# %%
# !grep -E "publish |^Restart|^OnUnit" deploy/ec2/user_data.sh

# %% [markdown]
# `Restart` notices a process that has ended, but not one that hangs. For that, the container has a
# health check, a request every half minute, and a timer restarts a container that fails it. Secrets
# (the token, the password) come from the environment or from a file that only root can read, never
# from the image or a command line. [deploy/README.md](../deploy/README.md) has the commands, and
# says what a month costs and what such a demo is safe for.
#
# | for | use | it lasts | who can read along |
# |---|---|---|---|
# | yourself, now | 127.0.0.1 | as long as the kernel | nobody |
# | one phone, some minutes | `lab tunnel`; `lab demo` starts everything | until Ctrl-C | ngrok |
# | a talk, without accounts | `LAB_APP_AUTH=... lab app --share` | a week at most | Gradio |
# | your group | ssh and a host of your own | while both machines run | you |
# | for good | compose or EC2 | until you remove it | the tunnel's server, or you |
#
# Whichever you use, ask before you give a link away: Is there a password? Are the app's limits set?
# Where does the handwriting go that people send, and did you tell them? When will the link end, and
# who ends it?

# %% [markdown]
# ## Summary
#
# - The address that a server listens on decides who can reach it: loopback is for this machine,
#   0.0.0.0 and :: for every network.
# - HTTPS hides what you ask for, not which server you ask. It ends where the certificate is; with a
#   tunnel, that is the tunnel's server.
# - A tunnel is opened from inside, so no port is opened. But what it leads to is public, so put a
#   login in front.
# - Base64 hides nothing. Compare secrets in constant time, and refuse everything else with 401.
# - A server should answer only to its own names, even on 127.0.0.1.
# - A mark that only your gate sets tells your answers from those of other servers. A health check
#   does what users do, with the password.
# - For minutes, use a tunnel; for months, a machine that restarts its parts.

# %% [markdown]
# ## What to try next
#
# - In a terminal, start `lab app` and `lab tunnel`, end the agent's process (`ngrok`) with `kill`,
#   and watch the link come back. Is it the same one?
# - Log in to a machine with `ssh -R 8080:127.0.0.1:7860` and run `ss -tln` there: on which address
#   does its sshd listen, and what does `GatewayPorts` change?
# - Run `diagnose` every minute and write down when its answer changes. How long must "no answer"
#   last before you want a message?
# - Look up your own domain in a log of certificates: which names can everyone read there?
# - This is the last notebook, and `lab demo` starts what they built: the model in a service, the
#   app in front of it, and one link. Show it to somebody.
