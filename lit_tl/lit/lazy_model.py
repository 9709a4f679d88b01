"""A model whose predictions are made field by field, when somebody looks at them."""

import contextlib
import hashlib
import itertools
import json
import sys
import threading
from typing import Any, Collection, Hashable, Iterable, Iterator, Mapping, Optional, Sequence

import cachetools
import numpy as np
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_tl.engine import freed_memory, jobs
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.lit.stored import StoredPredictions

_SERIAL = itertools.count()
_LONG_FIELDS = (lit_types.AttentionHeads, lit_types.TokenGradients, lit_types.TokenEmbeddings)
_BYTES_OF_NUMBER = 8
"""In JSON, rounded."""


class PredictionCache:
    """Fields of predictions, bounded in bytes: those that were not used for longest go first.

    Args:
        max_bytes: the bound.

    Raises:
        ValueError: the bound is below 0.
    """

    def __init__(self, max_bytes: int):
        if max_bytes < 0:
            raise ValueError(f"a cache of {max_bytes} bytes is not possible: give 0 or more")
        self._values: "cachetools.LRUCache[Any, Any]" = cachetools.LRUCache(
            max_bytes, getsizeof=size_in_bytes
        )
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """What is kept now."""
        return int(self._values.currsize)

    def get(self, key: Hashable) -> Any:
        """The value in a tuple, or None where there is none."""
        with self._lock:
            return self._values.get(key)

    def put(self, key: Hashable, value: Any) -> None:
        """Keep a value, unless it alone is past the bound."""
        with self._lock, contextlib.suppress(ValueError):
            self._values[key] = (value,)

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._values.clear()


def size_in_bytes(value: Any) -> int:
    """About how much memory a prediction takes: arrays by their numbers, containers by their
    parts."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes) + 128
    if isinstance(value, (list, tuple)):
        return sys.getsizeof(value) + sum(size_in_bytes(part) for part in value)
    if isinstance(value, dict):
        return sys.getsizeof(value) + sum(
            size_in_bytes(key) + size_in_bytes(part) for key, part in value.items()
        )
    return sys.getsizeof(value)


_Entry = tuple[Mapping[str, Any], str, dict[str, Any]]
"""An input, its key in the cache, and its fields so far."""
_LOOK_AROUND_SECONDS = 0.2


class _UnderWay:
    """Which inputs are being computed, so that no two requests do the same."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._claims: dict[str, tuple[threading.Event, bool]] = {}

    def claim(
        self, missing: Mapping[tuple[str, ...], Sequence[_Entry]]
    ) -> tuple[dict[tuple[str, ...], list[_Entry]], threading.Event, list[threading.Event]]:
        """Take what nobody computes, or background work alone, if this is not.

        Returns:
            What is to be computed here, the event of its end, and the ends of what others compute.
        """
        own: dict[tuple[str, ...], list[_Entry]] = {}
        others: list[threading.Event] = []
        background, finished = jobs.current().background, threading.Event()
        with self._guard:
            for names, entries in missing.items():
                for entry in entries:
                    event, behind = self._claims.get(entry[1], (None, False))
                    if event is not None and (background or not behind):
                        others.append(event)
                    else:
                        self._claims[entry[1]] = finished, background
                        own.setdefault(names, []).append(entry)
        return own, finished, others

    def release(
        self, own: Mapping[tuple[str, ...], Sequence[_Entry]], finished: threading.Event
    ) -> None:
        """Say that what was taken is computed, or will not be. What another has taken over since
        stays theirs."""
        with self._guard:
            for _, key, _ in itertools.chain.from_iterable(own.values()):
                if self._claims.get(key, (None, False))[0] is finished:
                    del self._claims[key]
        finished.set()


class LazyModel(lit_model.ModelWrapper):
    """A `HookedTransformerLIT` as LIT's server sees it.

    LIT asks for whole predictions of a whole data set as soon as its page opens, and then uses a
    few fields of them. Here a prediction is a mapping that computes a field when it is read, for
    all examples of its request together: the cheap fields at once, heavy ones (attention,
    gradients, ...) for what is asked. Results go to a cache that is bounded in bytes; its key holds
    the model object, the state of its weights and hooks, and all of the example that the model
    reads. What a store has is not computed.

    Args:
        model: whose predictions these are.
        cache: for what is computed.
        stored: predictions of this very model in stores.
    """

    def __init__(
        self,
        model: HookedTransformerLIT,
        cache: PredictionCache,
        stored: Sequence[StoredPredictions] = (),
    ):
        super().__init__(model)
        self._stored = stored
        self._cache = cache
        self._serial = next(_SERIAL)
        self._under_way = _UnderWay()
        spec, heavy = model.output_spec(), model.heavy_fields()
        self._cheap = [name for name in spec if name not in heavy]
        self._looked_at = [name for name in spec if name in self._cheap or name == "top_k_tokens"]

    def predict(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *args: Any,
        fields: Optional[Collection[str]] = None,
        **kw: Any,
    ) -> Sequence[Mapping[str, Any]]:
        """Predictions that are computed when they are read, or these fields at once. LIT's progress
        indicator and keywords have no meaning here."""
        del args, kw
        if fields is not None:
            return self.fetch(list(inputs), fields)
        request = Request(self, list(inputs))
        return [LazyPrediction(request, i) for i in range(len(request.inputs))]

    def fetch(
        self, inputs: Sequence[Mapping[str, Any]], names: Collection[str]
    ) -> list[dict[str, Any]]:
        """The named fields of each input, computed in one pass for those that are not in the cache.

        LIT asks in several requests for what the columns of its table and its metrics show of a
        data set. Whichever comes first computes all of that, but for text, which takes longer than
        all of it. Of a single prompt come also its likeliest tokens, which a panel shows next.

        Inputs go to the model a batch at a time, so that a request for one prompt waits for a batch
        and not for a data set. What another request computes just now is waited for, unless that is
        background work and this is not.
        """
        size, top_k = self.wrapped.max_minibatch_size(), self.wrapped.config.top_k
        looked_at = len(inputs) == 1 and not {"loss", "top_k_tokens"}.isdisjoint(names)
        with_it = self._looked_at if looked_at else self._cheap
        shares = any(name in self._cheap for name in names)
        wanted = list(dict.fromkeys([*names, *(with_it if shares else ())]))
        keys = self._keys(inputs)
        results: list[dict[str, Any]] = [{} for _ in inputs]
        for stored in self._stored:
            for result, found in zip(results, stored.fetch(inputs, names, top_k), strict=True):
                result.update(found)
        lacking = [i for i, result in enumerate(results) if any(n not in result for n in names)]
        order = sorted(lacking, key=lambda i: len(str(inputs[i].get("text"))))
        computed = False
        for first in jobs.each(range(0, len(order), size)):
            chunk = order[first : first + size]
            entries = [(inputs[i], keys[i], results[i]) for i in chunk]
            computed |= self._fill(entries, wanted)
        if computed:
            freed_memory.give_back()
        return [{name: result[name] for name in names} for result in results]

    def _fill(self, entries: Sequence["_Entry"], wanted: Sequence[str]) -> bool:
        """Whether something had to be computed."""
        computed = False
        while missing := self._not_cached(entries, wanted):
            jobs.may_wait()
            own, finished, others = self._under_way.claim(missing)
            try:
                for names, group in own.items():
                    computed = True
                    self._compute(names, group)
            finally:
                self._under_way.release(own, finished)
            for other in others:
                while not other.wait(_LOOK_AROUND_SECONDS):
                    jobs.current().check()
        return computed

    def _not_cached(
        self, entries: Sequence["_Entry"], wanted: Sequence[str]
    ) -> dict[tuple[str, ...], list["_Entry"]]:
        """Entries by the fields that they lack, after what the cache has is put into them."""
        missing: dict[tuple[str, ...], list[_Entry]] = {}
        for entry in entries:
            _, key, result = entry
            for name in wanted:
                cached = None if name in result else self._cache.get((key, name))
                if cached is not None:
                    result[name] = cached[0]
            if lacking := tuple(name for name in wanted if name not in result):
                missing.setdefault(lacking, []).append(entry)
        return missing

    def _compute(self, names: tuple[str, ...], entries: Sequence["_Entry"]) -> None:
        outputs = self.wrapped.predict([example for example, _, _ in entries], fields=names)
        for (_, key, result), output in zip(entries, outputs, strict=True):
            result.update(output)
            for name, value in output.items():
                self._cache.put((key, name), value)

    def reply_bytes(self, inputs: Sequence[Mapping[str, Any]], names: Collection[str]) -> int:
        """About how long the JSON of some fields is, judged by the prompts' lengths."""
        shape = self.wrapped.loaded.runner.shape
        spec = self.wrapped.output_spec()
        long = [name for name in names if isinstance(spec[name], _LONG_FIELDS)]
        if not long:
            return 0
        numbers = 0
        for example in inputs:
            length = len(self.wrapped.loaded.prompt(example))
            for name in long:
                attention = isinstance(spec[name], lit_types.AttentionHeads)
                numbers += length * (shape.n_heads * length if attention else shape.d_model)
        return _BYTES_OF_NUMBER * numbers

    def state(self) -> str:
        """What changes when the model object, its weights, its hooks or its settings do."""
        return f"{self._serial}:{self.wrapped.loaded.runner.state()}:{self.wrapped.config}"

    def _keys(self, inputs: Sequence[Mapping[str, Any]]) -> list[str]:
        state = self.state()
        names = sorted(self.wrapped.input_spec())
        return [_digest(state, [example.get(name) for name in names]) for example in inputs]


def _digest(state: str, values: Sequence[Any]) -> str:
    digest = hashlib.sha256(state.encode())
    for value in values:
        if isinstance(value, np.ndarray):
            digest.update(
                str((value.shape, value.dtype)).encode() + np.ascontiguousarray(value).tobytes()
            )
        else:
            digest.update(json.dumps(value, default=np.ndarray.tolist).encode() + b"\0")
    return digest.hexdigest()


class Request:
    """The inputs that were asked for together, and what has been computed of them."""

    def __init__(self, model: LazyModel, inputs: Sequence[Mapping[str, Any]]):
        self.model = model
        self.inputs = inputs
        self.fields = list(model.output_spec())
        self._outputs: list[dict[str, Any]] = [{} for _ in inputs]
        self._lock = threading.Lock()

    def value(self, index: int, name: str) -> Any:
        """One field of one input; the first look at a field computes it for all inputs."""
        if name not in self.fields:
            raise KeyError(name)
        with self._lock:
            if name not in self._outputs[index]:
                together = self.fields_with(name)
                for values, fetched in zip(
                    self._outputs, self.model.fetch(self.inputs, together), strict=True
                ):
                    values.update(fetched)
        return self._outputs[index][name]

    def fields_with(self, name: str) -> list[str]:
        """The fields that cost no more than `name` does when they come with it."""
        if name != "token_gradients":
            return [name]
        together = ("target", name, "token_embeddings")
        return [field for field in together if field in self.fields]


class LazyPrediction(Mapping[str, Any]):
    """One prediction: a read-only mapping that computes on reading."""

    def __init__(self, request: Request, index: int):
        self._request = request
        self._index = index

    def __getitem__(self, name: str) -> Any:
        return self._request.value(self._index, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._request.fields)

    def __len__(self) -> int:
        return len(self._request.fields)
