"""Requests that need a model become jobs; those whose answer is kept are answered at once.

A browser says `Prefer: respond-async` (RFC 7240): what is not there within a second is answered
with 202 and a ticket, with which it looks how far the job is, as often as it likes. Other programs
wait for the answer on their connection, and the job stops when they close it.
"""

import hashlib
import re
import threading
import uuid
from typing import Any, Callable, Mapping, Optional

import orjson
from absl import logging
from lit_nlp.lib import serialize, utils
from werkzeug import wrappers

from lit_tl.engine import memory
from lit_tl.engine.jobs import Cancelled, WouldWait, answering_at_once
from lit_tl.server import replies
from lit_tl.server.job_board import JobBoard, Outcome, RunningJob, Task, TooManyJobs

CLIENT_HEADER = "X-Lit-Tl-Client"
_CLIENT = re.compile(r"[A-Za-z0-9_-]{8,64}")
MAX_WAITING, MAX_LOOKING = 24, 12
"""Connections that may wait at once for their answers, and for how far a job is. Each holds one of
the server's threads."""
_LONGEST_WAIT, _FIRST_WAIT = 10.0, 1.0
Answer = Callable[..., Any]


class Described:
    """What is known of a request before it is answered.

    Args:
        title: of its job, for people.
        background: whether it takes long.
        at_once: whether it may be answered before others where no model has to run.
        state: tells what its answer depends on beside the request.
    """

    def __init__(self, title: str, *, background: bool, at_once: bool, state: Callable[[], str]):
        self.title, self.background, self.at_once, self.state = title, background, at_once, state


class JobRequests:
    """Answers requests with a method on parsed JSON.

    Args:
        board: where jobs run.
        read: the JSON object that a request brings, given its query.
        describe: of a path, its query and the JSON.
    """

    def __init__(
        self,
        board: JobBoard,
        read: Callable[[wrappers.Request, Mapping[str, Any]], dict[str, Any]],
        describe: Callable[[str, Mapping[str, Any], Mapping[str, Any]], Described],
    ):
        self._board, self._read, self._describe = board, read, describe
        self._may_wait = threading.BoundedSemaphore(MAX_WAITING)
        self._may_look = threading.BoundedSemaphore(MAX_LOOKING)

    def answer(self, request: wrappers.Request, method: Answer) -> wrappers.Response:
        """The answer, or a ticket for it, or one sentence that says why there is none."""
        query = request.args.to_dict()
        simple = utils.coerce_bool(query.pop("response_simple_json", True))

        def encoded(result: Any) -> bytes:
            return replies.to_json(result) if simple else serialize.to_json(result).encode()

        try:
            data = self._read(request, query)
            described = self._describe(request.path, query, data)
            if described.at_once:
                try:
                    with answering_at_once():
                        return replies.respond(request, encoded(method(data, **query)))
                except WouldWait:
                    pass
            task = Task(
                key=_key(request, described.state()),
                title=described.title,
                client=client_of(request),
                background=described.background,
                size=len(request.get_data()),
                work=lambda: _outcome(request.path, lambda: encoded(method(data, **query))),
                partial=lambda result: encoded([result]),
            )
            running, ticket = self._board.start(task)
        except TooManyJobs as error:
            return _busy(request, str(error))
        except Exception as error:  # noqa: BLE001  (the server's outer edge: whatever failed must be answered)
            outcome = _failure(request.path, error)
            return replies.respond(request, outcome.body, status=outcome.status)
        return self._wait(request, running, ticket)

    def _wait(
        self, request: wrappers.Request, running: RunningJob, ticket: str
    ) -> wrappers.Response:
        preferred = _preferred_wait(request)
        holds = self._may_wait.acquire(blocking=False)
        try:
            if not holds and preferred is None:
                self._board.leave(ticket)
                return _busy(request, "too many requests wait for their answers: try again later")
            seconds = float("inf") if preferred is None else preferred if holds else 0.0
            outcome = self._board.wait(running, ticket, seconds, left_by(request))
        finally:
            if holds:
                self._may_wait.release()
        if outcome is None:
            return self._progress(request, running, ticket, seen=0)
        return replies.respond(request, outcome.body, status=outcome.status)

    def look(self, request: wrappers.Request) -> wrappers.Response:
        """How far a ticket's job is, or its answer."""
        ticket = request.args.get("ticket", "")
        seen, wait = _number(request, "seen"), min(_number(request, "wait"), _LONGEST_WAIT)
        holds = self._may_look.acquire(blocking=False)
        try:
            running = self._board.look(ticket, wait=wait if holds else 0.0)
        finally:
            if holds:
                self._may_look.release()
        if running is None:
            sentence = "this server does not know the job: it has ended, so ask again"
            return replies.respond(request, replies.to_json({"error": sentence}), status=404)
        if running.outcome is None:
            return self._progress(request, running, ticket, seen=int(seen))
        self._board.leave(ticket)
        return replies.respond(request, running.outcome.body, status=running.outcome.status)

    def cancel(self, request: wrappers.Request) -> wrappers.Response:
        """The holder of a ticket needs the answer no more."""
        self._board.leave(request.args.get("ticket", ""))
        return replies.respond(request, replies.to_json({}))

    def list_own(self, request: wrappers.Request) -> wrappers.Response:
        """The jobs of the client that asks, each with a new ticket."""
        found = self._board.jobs_of(client_of(request))
        jobs = [_described(running, ticket, seen=0) for running, ticket in found]
        return replies.respond(request, replies.to_json({"jobs": jobs}))

    def _progress(
        self, request: wrappers.Request, running: RunningJob, ticket: str, *, seen: int
    ) -> wrappers.Response:
        self._board.look(ticket, wait=0.0)  # from now on the follower looks from time to time
        body = orjson.dumps({"job": _described(running, ticket, seen=seen)})
        response = replies.respond(request, body, status=202)
        response.headers["Preference-Applied"] = "respond-async"
        return response


def _described(running: RunningJob, ticket: str, *, seen: int) -> dict[str, Any]:
    count, partial = running.partial
    return {
        "id": running.id,
        "ticket": ticket,
        "title": running.task.title,
        "share": running.share,
        "seconds_left": running.seconds_left,
        "queued": running.started is None,
        "partials": count,
        "partial": orjson.Fragment(partial) if count > seen else None,
    }


def client_of(request: wrappers.Request) -> str:
    """Who asks: the browser by a name that its page has made up, others by their address."""
    given = request.headers.get(CLIENT_HEADER, "")
    return given if _CLIENT.fullmatch(given) else request.remote_addr or ""


def left_by(request: wrappers.Request) -> Callable[[], bool]:
    """Tells whether the connection of a request is closed, where the server can tell."""
    gone: Optional[Callable[[], bool]] = request.environ.get("waitress.client_disconnected")
    return gone if gone is not None else lambda: False


def _key(request: wrappers.Request, state: str) -> str:
    digest = hashlib.sha256(request.path.encode())
    for name, value in sorted(request.args.items()):
        digest.update(f"\0{name}\0{value}".encode())
    digest.update(f"\0{state}\0".encode() + request.get_data())
    return digest.hexdigest()


def _preferred_wait(request: wrappers.Request) -> Optional[float]:
    """Seconds after which a ticket is wanted; None where the answer is waited for."""
    preferences = [part.strip() for part in request.headers.get("Prefer", "").split(",")]
    if "respond-async" not in preferences:
        return None
    given = next((part[5:] for part in preferences if part.startswith("wait=")), "")
    return min(_whole(given), _LONGEST_WAIT) if given else _FIRST_WAIT


def _number(request: wrappers.Request, name: str) -> float:
    return _whole(request.args.get(name, ""))


def _whole(text: str) -> float:
    """A whole number out of a text, 0 where it is none."""
    return float(text) if re.fullmatch("[0-9]{1,9}", text) else 0.0


def _outcome(path: str, work: Callable[[], bytes]) -> Outcome:
    """What a job is answered with. That of a mistaken request is logged in a line, any other
    failure with its trace."""
    try:
        return Outcome(200, work())
    except Cancelled:
        raise
    except Exception as error:  # noqa: BLE001  (the job's outer edge: whatever failed must be answered)
        if memory.is_out_of_memory(error):  # in what stands on the runner, which says it itself
            logging.warning("request %s ran out of memory", path, exc_info=error)
            error = memory.no_room()
        return _failure(path, error)


def _failure(path: str, error: Exception) -> Outcome:
    error_id = uuid.uuid4().hex[:8]
    if replies.is_mistake(error):
        logging.info("request %s refused, id %s: %s", path, error_id, error)
        logging.debug("its trace", exc_info=error)
    else:
        logging.error("request %s failed, id %s", path, error_id, exc_info=error)
    return Outcome(*replies.failure(error, error_id))


def _busy(request: wrappers.Request, sentence: str) -> wrappers.Response:
    response = replies.respond(request, replies.to_json({"error": sentence}), status=503)
    response.headers["Retry-After"] = "1"
    return response
