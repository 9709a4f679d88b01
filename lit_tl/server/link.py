"""Where the link to a server goes: with its token to a terminal, or into a file that its owner
alone reads, and never into a log."""

import os
import pathlib
import sys
from typing import Optional

from lit_tl.server.gate import MIN_TOKEN, TOKEN_FIELD, new_token

LOOPBACK = ("localhost", "127.0.0.1", "::1")
TOKEN_VARIABLE = "LIT_TL_TOKEN"


def token_for(host: str, given: Optional[str], *, proxied: bool = False) -> Optional[str]:
    """The token of a server: the given one, or that of the environment, or, where other machines
    reach the server, a new one.

    Args:
        host: that it listens on.
        given: by the user.
        proxied: whether a proxy brings requests of other machines.

    Raises:
        ValueError: the given one is short enough to be guessed.
    """
    token = given if given is not None else os.environ.get(TOKEN_VARIABLE)
    if token is not None:
        if len(token) < MIN_TOKEN or not (token.isascii() and token.isprintable()):
            raise ValueError(
                f"--token must have at least {MIN_TOKEN} characters of ASCII, so that nobody "
                "guesses it; without the flag one is made"
            )
        return token
    return None if is_loopback(host) and not proxied else new_token()


def is_loopback(host: str) -> bool:
    """Whether this machine alone reaches a server on this address."""
    return host in LOOPBACK or host.startswith("127.")


def announce(url: str, token: Optional[str], port: int, session: str = "") -> str:
    """What to print when a server is ready.

    Args:
        url: of the server.
        token: that a browser must bring; None for none.
        port: that it listens on.
        session: that the page opens; "" for none.

    Raises:
        OSError: the file for the link can't be written.
    """
    opened = f"session={session}" if session else ""
    if token is None:
        return f"LIT is at {url}{opened and f'?{opened}'}"
    link = f"{url}?{TOKEN_FIELD}={token}{opened and f'&{opened}'}"
    if sys.stdout.isatty():
        return f"LIT is at {link}"
    return f"LIT is at {url} and asks for a token: the link with it is in {_keep(link, port)}"


def _keep(link: str, port: int) -> pathlib.Path:
    state = os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local" / "state"
    folder = pathlib.Path(state) / "lit_tl"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"link-{port}"
    path.unlink(missing_ok=True)  # another's, or a link to somewhere else
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(file, "w") as writer:
        writer.write(f"{link}\n")
    return path
