"""Replies as browsers take them: JSON without NaN, compressed where it helps, errors in a
sentence."""

import gzip
from typing import Any, Mapping

import numpy as np
import numpy.typing as npt
import orjson
from lit_nlp.lib import serialize
from werkzeug import wrappers

_WORTH_COMPRESSING = 2048
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def _plain(value: Any) -> Any:
    """What orjson does not know by itself: LIT's types, mappings, arrays that are not
    contiguous."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    return serialize.SimpleJSONEncoder().default(value)


def to_json(value: Any) -> bytes:
    """JSON in which a number that JSON lacks (NaN, an infinity) is null, since one of them makes a
    browser refuse the whole reply; and in which a float32 has the digits that it has, rather than
    those of a double."""
    return orjson.dumps(value, default=_plain, option=_OPTIONS)


def rounded(values: "npt.NDArray[np.float32]", digits: int) -> "npt.NDArray[np.float32]":
    """The numbers with so many significant digits: what a figure shows, in a fraction of the
    bytes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        exponents = np.floor(np.log10(np.abs(values)))
        scale = 10.0 ** (digits - 1 - np.where(np.isfinite(exponents), exponents, 0.0))
        return np.asarray(np.round(values * scale) / scale, dtype=np.float32)


def respond(request: wrappers.Request, body: bytes, *, status: int = 200) -> wrappers.Response:
    """A JSON reply, gzipped if the browser takes it and it is long."""
    response = wrappers.Response(
        body, status=status, content_type="application/json; charset=utf-8"
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Accept-Encoding"
    if len(body) > _WORTH_COMPRESSING and request.accept_encodings.quality("gzip") > 0:
        response.set_data(gzip.compress(body, compresslevel=1))
        response.headers["Content-Encoding"] = "gzip"
    return response


def is_mistake(error: BaseException) -> bool:
    """Whether a failure lies with the request rather than with us."""
    return isinstance(error, (ValueError, LookupError, TypeError))


def failure(error: BaseException, error_id: str) -> tuple[int, bytes]:
    """The status of a failed request, and a sentence with the id under which the log has more."""
    expected = is_mistake(error)
    sentence = str(error).strip().split("\n")[0] if expected else ""
    if isinstance(error, KeyError) and " " not in sentence:
        sentence = f"there is no {sentence} on this server: reload the page to see what there is"
    body = {
        "error": sentence or f"the server failed ({type(error).__name__}); its log has the reason",
        "id": error_id,
    }
    return 400 if expected else 500, to_json(body)
