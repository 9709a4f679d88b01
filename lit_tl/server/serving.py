"""The web server: threads, a port that is checked before models load, a clean end."""

import errno
import logging
import queue
import signal
import socket
import threading
import time
from typing import Any, Callable

import waitress
from waitress import channel, wasyncore

MAX_HEADER_BYTES, MAX_BODY_BYTES = 64 * 2**10, 32 * 2**20
IDLE_SECONDS, STOP_SECONDS = 60, 4
MAX_CONNECTIONS, MAX_REQUEST_SECONDS, SLOW_READER_SECONDS = 1000, 60, 5
MAX_UNREAD_BYTES = 64 * 2**20
THREADS = 48


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


def _not_of_a_client_that_left(record: logging.LogRecord) -> bool:
    """waitress 3.0 fails, and logs that it did, where a client leaves before it was told that its
    request is malformed."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, AttributeError) and error.name == "path")


class _Channel(channel.HTTPChannel):
    """A connection whose request must be there in full within a time, however it trickles in."""

    _began = 0.0

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Wait for a client to read what it was sent, but not for long: a thread waits here.

        Raises:
            ClientDisconnected: it does not read.
        """
        end = time.monotonic() + SLOW_READER_SECONDS
        while self.connected and self.total_outbufs_len > self.adj.outbuf_high_watermark:
            if time.monotonic() > end:
                self.will_close = True
                self.server.pull_trigger()
                raise channel.ClientDisconnected
            self.server.pull_trigger()
            with self.outbuf_lock:
                self.outbuf_lock.wait(0.1)

    def received(self, data: bytes) -> bool:
        """Take what has come."""
        if self.request is None:
            self._began = time.monotonic()
        taken: bool = super().received(data)
        late = time.monotonic() - self._began > MAX_REQUEST_SECONDS
        if self.request is not None and not self.request.completed and late:
            self.will_close = True
            self.handle_close()
        return taken


class Server:
    """Serves one WSGI application by waitress: one thread reads and writes all connections, so that
    half a request holds none of the threads that answer.

    Args:
        app: the application.
        listener: the socket, which is closed at the end.
        threads: requests that are answered at once.
        proxied: whether a proxy on this machine says whose requests it brings.
        at_end: called before the server waits for these to end.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        listener: socket.socket,
        *,
        threads: int = THREADS,
        at_end: Callable[[], object] = lambda: None,
        proxied: bool = False,
    ):
        log = logging.getLogger("waitress")
        log.setLevel(logging.ERROR)
        log.addFilter(_not_of_a_client_that_left)
        self.url = url_of(listener)
        self.port = int(listener.getsockname()[1])
        self._connections: dict[int, Any] = {}
        self._listener, self._ended, self._at_end = listener, threading.Event(), at_end
        self._server: Any = waitress.create_server(
            app,
            map=self._connections,
            sockets=[listener],
            threads=threads,
            ident=None,
            max_request_header_size=MAX_HEADER_BYTES,
            max_request_body_size=MAX_BODY_BYTES,
            channel_timeout=IDLE_SECONDS,
            outbuf_high_watermark=MAX_UNREAD_BYTES,
            cleanup_interval=IDLE_SECONDS // 4,
            connection_limit=MAX_CONNECTIONS,
            channel_request_lookahead=1,  # a connection that closes is noticed meanwhile
            asyncore_use_poll=True,
            clear_untrusted_proxy_headers=False,
            **({"trusted_proxy": "127.0.0.1", "trusted_proxy_headers": "x-forwarded-for"})
            if proxied
            else {},
        )
        self._server.channel_class = _Channel

    def run(self) -> None:
        """Serve until Ctrl-C, if `end_at_ctrl_c()` was called before."""
        try:
            while not self._ended.is_set():
                wasyncore.loop(timeout=1.0, use_poll=True, map=self._connections, count=1)
        finally:
            self._at_end()
            self._server.task_dispatcher.shutdown(cancel_pending=True, timeout=STOP_SECONDS)
            wasyncore.close_all(self._connections)
            self._listener.close()

    def end_at_ctrl_c(self) -> None:
        """From here on Ctrl-C, or SIGTERM, ends `run()`, also one that has yet to begin. To be
        called on the main thread."""
        pressed: queue.SimpleQueue[int] = queue.SimpleQueue()  # whose `put` may interrupt anything

        def end() -> None:
            pressed.get()
            self._end()

        threading.Thread(target=end, daemon=True, name="lit_tl waits for Ctrl-C").start()
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda number, frame: pressed.put(number))

    def _end(self) -> None:
        self._ended.set()
        self._server.pull_trigger()

    def start(self) -> "Server":
        """Serve from a thread of its own, and return."""
        name = f"lit_tl server on {self.port}"
        self._thread = threading.Thread(target=self.run, daemon=True, name=name)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End a server that was started with `start()`."""
        self._end()
        self._thread.join()
