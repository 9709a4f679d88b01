"""The web server: threads, a port that is checked before models load, a clean end."""

import errno
import logging
import queue
import signal
import socket
import threading
from typing import Any, Callable

from werkzeug import serving


class ServingError(OSError):
    """The server can't start. The message says why and what to do."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        ServingError: the port is taken or not allowed, or the host is no address of this machine.
    """
    try:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(info[0], socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(info[4])
        listener.listen(128)
    except socket.gaierror as error:
        raise ServingError(f"--host {host} is not an address of this machine") from error
    except OverflowError as error:
        raise ServingError(f"--port {port} is out of range: 0 to 65535") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServingError(
                f"port {port} on {host} is taken: choose another with --port, or 0 for any free one"
            ) from error
        if error.errno == errno.EACCES:
            raise ServingError(
                f"port {port} needs more rights: choose one above 1023 with --port"
            ) from error
        raise ServingError(f"can't listen on {host}:{port}: {error.strerror}") from error
    return listener


def url_of(listener: socket.socket) -> str:
    """The address to open in a browser."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"


class Server:
    """Serves one WSGI application, a thread for each request."""

    def __init__(self, app: Callable[..., Any], listener: socket.socket):
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        host, port = listener.getsockname()[:2]
        self.url = url_of(listener)
        self.port = int(port)
        self._server = serving.make_server(host, port, app, threaded=True, fd=listener.fileno())
        self._listener = listener

    def run(self) -> None:
        """Serve until Ctrl-C, if `end_at_ctrl_c()` was called before."""
        try:
            self._server.serve_forever()
        finally:
            self._server.server_close()
            self._listener.close()

    def end_at_ctrl_c(self) -> None:
        """From here on Ctrl-C ends `run()`, also one that has yet to begin. To be called on the
        main thread."""
        pressed: queue.SimpleQueue[int] = queue.SimpleQueue()  # whose `put` may interrupt anything

        def end() -> None:
            pressed.get()
            self._server.shutdown()

        threading.Thread(target=end, daemon=True, name="lit_tl waits for Ctrl-C").start()
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, lambda number, frame: pressed.put(number))

    def start(self) -> "Server":
        """Serve from a thread of its own, and return."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, daemon=True, name=f"lit_tl server on {self.port}"
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """End a server that was started with `start()`."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._listener.close()
