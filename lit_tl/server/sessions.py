"""Sessions of pages: described for a file, kept, and opened with what this server has."""

import base64
import json
import weakref
from typing import Any, Callable, Mapping, MutableMapping, Optional, Sequence

from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.lib import caching

from lit_tl.data.columns import prompt_data
from lit_tl.lit.datasets import PromptDataset
from lit_tl.lit.lazy_model import LazyModel
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.names import safe_label
from lit_tl.report import notebook, page
from lit_tl.server.session_opening import Opening
from lit_tl.session.digests import digest_of_data, digest_of_weights
from lit_tl.session.session import Session, SessionError
from lit_tl.session.store import SessionStore

MAX_DATA_BYTES = 16 * 2**20
"""Of examples in a session; of a larger data set, those that are looked at are in it."""
MOST_OPENED = 16
"""Data sets that sessions have brought to a server."""
MakeVariant = Callable[[dict[str, Any]], str]


class SessionDesk:
    """Answers a page's requests about sessions.

    Args:
        models: of the server, by label.
        datasets: of the server, by label.
        make_variant: makes what a `config` of `/make_variant` asks for, and says its label.
        refresh: tells LIT of new data sets.
        store: where sessions are kept.
        start: the session that the server was started with.
    """

    def __init__(
        self,
        models: Callable[[], Mapping[str, lit_model.Model]],
        datasets: Callable[[], MutableMapping[str, lit_dataset.IndexedDataset]],
        *,
        make_variant: MakeVariant,
        refresh: Callable[[], None],
        store: Optional[SessionStore] = None,
        start: Optional[Session] = None,
    ):
        self._models, self._datasets = models, datasets
        self._make_variant, self._refresh = make_variant, refresh
        self._store, self._start = store or SessionStore(), start
        self._weights: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._measured: weakref.WeakKeyDictionary[Any, tuple[str, int]] = (
            weakref.WeakKeyDictionary()
        )
        self._opened: list[str] = []

    def handlers(self) -> dict[str, Callable[..., Any]]:
        """By path."""
        return {
            "/describe_session": self.describe,
            "/keep_session": self.keep,
            "/open_session": self.open,
            "/bring_session": self.bring,
            "/make_report": self.report,
            "/make_notebook": self.notebook,
            "/list_sessions": self.listing,
        }

    def session_of(self, data: Mapping[str, Any]) -> Session:
        """A page's state as a session: what it names, with digests and versions.

        Raises:
            SessionError: it names what is not here.
        """
        state = data.get("state")
        if not isinstance(state, dict):
            raise SessionError("a session is asked for with the state of a page")
        query, figures = state.get("query") or {}, state.get("figures") or []
        kinds: dict[str, Any] = {
            "query": dict,
            "panels": dict,
            "pairs": dict,
            "drafts": dict,
            "notes": dict,
        }
        kinds |= {"figures": list, "added": list}
        for name, kind in kinds.items():
            if not isinstance(state.get(name) or kind(), kind):
                raise SessionError(f"the state of a page has another {name}: reload the page")
        labels = [*filter(None, str(query.get("models") or "").split(","))]
        sets = [str(query.get("dataset") or "")]
        for figure in figures:
            if isinstance(figure, dict):
                labels += [str(figure.get("model") or ""), str(figure.get("other_model") or "")]
                sets.append(str(figure.get("data") or ""))
        return Session.of(
            title=str(state.get("title") or ""),
            models=self._described_models(labels),
            data=self._described_data(sets, state),
            page={
                "query": query,
                "panels": state.get("panels") or {},
                "pairs": state.get("pairs") or {},
                "drafts": state.get("drafts") or {},
            },
            figures=figures,
            notes=state.get("notes") or {},
        )

    def describe(self, data: Mapping[str, Any], **kw: Any) -> dict[str, Any]:
        """The session of a page, for a file."""
        del kw
        return dict(self.session_of(data).content)

    def keep(
        self, data: Mapping[str, Any], name: str = "", autosave: str = "", **kw: Any
    ) -> dict[str, str]:
        """Keep the session of a page for a link, or as its autosave; and say its name."""
        del kw
        kind, own = ("autosaves", name) if autosave else ("links", "")
        return {"name": self._store.keep(self.session_of(data), kind, own)}  # type: ignore[arg-type]

    def bring(self, data: Mapping[str, Any], **kw: Any) -> dict[str, str]:
        """Keep a session that a page brings, to be opened by its name.

        Raises:
            SessionError: it is no session.
        """
        del kw
        return {"name": self._store.keep(Session(content=data.get("session") or {}), "links")}

    def report(self, data: Mapping[str, Any], **kw: Any) -> dict[str, str]:
        """The page's session as a report: its `type`, and `data` in base64."""
        del kw
        return _file("text/html", page.report(self.session_of(data)))

    def notebook(self, data: Mapping[str, Any], **kw: Any) -> dict[str, str]:
        """The page's session as a notebook."""
        del kw
        return _file("application/x-ipynb+json", notebook.notebook(self.session_of(data)))

    def listing(self, data: Mapping[str, Any], **kw: Any) -> list[dict[str, Any]]:
        """Autosaves, newest first."""
        del data, kw
        return self._store.listing()

    def open(self, data: Mapping[str, Any], name: str = "", **kw: Any) -> dict[str, Any]:
        """What a page shows of a session: one that was kept, or `start`.

        Returns:
            `query`, `panels` and `pairs` in this server's names; `added` examples, by their old
            ids; `figures`, `notes`, `title`; and `said`: what is missing or different here.

        Raises:
            SessionError: it is no session, or there is none of that name.
        """
        del kw
        if name == "start" and self._start is not None:
            session = self._start
        else:
            session = self._store.find(name)
        return Opening(self, session, str(data.get("page") or "")).result()

    def _described_models(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        wanted: dict[str, HookedTransformerLIT] = {}
        for label in filter(None, labels):
            model = self.model(label)
            if model is None:
                continue
            original = self.label_of(model.original)
            if original:
                wanted.setdefault(original, model.original)
            wanted[label] = model
        ordered = sorted(wanted, key=lambda label: bool(wanted[label].loaded.changes))
        return [self._described(label, wanted[label]) for label in ordered]

    def _described(self, label: str, model: HookedTransformerLIT) -> dict[str, Any]:
        of_original = self.label_of(model.original)
        return {
            "label": label,
            "source": model.loaded_with,
            "settings": model.config.changed(),
            "changes": [str(change) for change in model.loaded.changes],
            "original": of_original if of_original != label else "",
            "weights": self.weights(model),
            "description": model.description(),
        }

    def _described_data(self, labels: Sequence[str], state: Any) -> list[dict[str, Any]]:
        described = []
        added = state.get("added") or []
        for label in dict.fromkeys(filter(None, labels)):
            if label not in self._datasets():
                continue
            digest, size = self._measure(label)
            examples = self._datasets()[label].examples
            if size <= MAX_DATA_BYTES:
                kept = [_without_id(example) for example in examples]
            else:
                named = json.dumps([state.get("query"), added, state.get("notes")])
                kept = [_without_id(each) for each in examples if str(each.get("_id")) in named]
            if label == labels[0]:
                kept = [*kept, *added]
            described.append(
                {"label": label, "digest": digest, "count": len(examples), "examples": kept}
            )
        return described

    def model(self, label: str) -> Optional[HookedTransformerLIT]:
        """A model of ours by its label."""
        lazy = self._models().get(label)
        wrapped = lazy.wrapped if isinstance(lazy, LazyModel) else None
        return wrapped if isinstance(wrapped, HookedTransformerLIT) else None

    def labels(self) -> list[str]:
        """Of models of ours."""
        return [label for label in self._models() if self.model(label) is not None]

    def label_of(self, original: HookedTransformerLIT) -> str:
        """The label of a model that holds weights; "" where it is not on the server."""
        for label in self.labels():
            model = self.model(label)
            if model is not None and not model.loaded.changes and model.original is original:
                return label
        return ""

    def weights(self, model: HookedTransformerLIT) -> str:
        """A digest of a model's weights, made once for each."""
        module = model.original.model
        if module not in self._weights:
            self._weights[module] = digest_of_weights(module)
        return self._weights[module]

    def variant(self, config: dict[str, Any]) -> str:
        """Make a variant; its label."""
        return self._make_variant(config)

    def data_set(self, data: Mapping[str, Any]) -> tuple[str, str, dict[str, str]]:
        """The data set of a session here.

        Returns:
            Its label; what is to be said of it, or ""; and new ids of examples by their old ones.
        """
        label, ids = str(data["label"]), dict[str, str]()
        same = [each for each in self._datasets() if self._digest(each) == data["digest"]]
        if same:
            return (label if label in same else same[0]), "", ids
        originals = [each for each in data["examples"] if not (each.get("meta") or {}).get("added")]
        if not originals:
            raise SessionError(f"the session has no examples of the data set {label!r}")
        count = int(data.get("count") or len(originals))
        said = (
            f"The data set {label} is not here as it was: the session's own examples are shown"
            + (f", {len(originals)} of {count}" if count > len(originals) else "")
        )
        records = [(number, each["data"]) for number, each in enumerate(originals, start=1)]
        made = prompt_data(f"session, {label}", records)
        indexed = lit_dataset.IndexedDataset(base=PromptDataset(made), id_fn=caching.input_hash)
        ids = {
            old["id"]: str(new["_id"])
            for old, new in zip(originals, indexed.examples, strict=False)
            if old["id"] != new["_id"]
        }
        new_label = _unused(safe_label(label), self._datasets())
        if len(self._opened) >= MOST_OPENED:
            self._datasets().pop(self._opened.pop(0), None)
        self._datasets()[new_label] = indexed
        self._opened.append(new_label)
        self._refresh()
        return new_label, f"{said} as {new_label}.", ids

    def _digest(self, label: str) -> str:
        return self._measure(label)[0]

    def _measure(self, label: str) -> tuple[str, int]:
        """A data set's digest and its size as JSON, made once: pages are kept every few seconds."""
        data = self._datasets()[label]
        if data not in self._measured:
            examples = [_without_id(example)["data"] for example in data.examples]
            size = len(json.dumps(examples, default=str))
            self._measured[data] = digest_of_data(examples), size
        return self._measured[data]


def _file(kind: str, text: str) -> dict[str, str]:
    return {"type": kind, "data": base64.b64encode(text.encode()).decode()}


def _unused(label: str, taken: Mapping[str, Any]) -> str:
    count, free = 1, label
    while free in taken:
        count += 1
        free = f"{label}-{count}"
    return free


def _without_id(example: Mapping[str, Any]) -> dict[str, Any]:
    data = {name: value for name, value in example.items() if not name.startswith("_")}
    return {"id": str(example.get("_id", "")), "data": data}
