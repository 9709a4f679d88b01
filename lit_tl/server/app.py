"""LIT's application with our models: fields made when they are asked for, threads, replies that
browsers can take."""

import itertools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

from lit_nlp import app as lit_app
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types
from lit_nlp.lib import caching, utils
from werkzeug import wrappers

from lit_tl.engine import freed_memory, jobs
from lit_tl.lit.analysis_interpreter import AnalysisInterpreter
from lit_tl.lit.lazy_model import LazyModel, PredictionCache
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.lit.sequence_salience import SLOW_FIELDS, SalienceSibling, siblings
from lit_tl.server import browsing, replies, variants
from lit_tl.server.bodies import name_for_a_url, read_body
from lit_tl.server.gate import Gate
from lit_tl.server.job_board import JobBoard
from lit_tl.server.job_requests import Described, JobRequests
from lit_tl.server.monitor import AccessLog, Monitor
from lit_tl.server.page_access import PageAccess
from lit_tl.server.routes import LIT_ROUTES, Handler, Routes
from lit_tl.server.sessions import SessionDesk
from lit_tl.session.session import Session
from lit_tl.store import Store

DEFAULT_CACHE_BYTES = 256 * 2**20
_ATTENTION_DIGITS = 3
MAX_REPLY_BYTES = 2**27
ANALYSIS_PATH = "/get_analysis"
_MANY_INPUTS = 32
"""Inputs above which a request is background work."""
_LONG = ("/create_model", "/create_dataset", "/get_metrics", "/unload_model", "/make_variant")
_LOADING = ("/create_model", "/create_dataset")
_MAY_BE_KEPT = ("/get_info", "/get_dataset", "/get_preds", "/get_metrics", ANALYSIS_PATH)
_TITLES = {
    "/get_preds": "Predictions",
    "/get_metrics": "Metrics",
    "/create_model": "Loading model",
    "/create_dataset": "Loading data",
    "/make_variant": "Making variant",
    "/keep_session": "Keeping the session",
    "/describe_session": "Saving the session",
    "/open_session": "Opening the session",
    "/make_report": "Report",
    "/make_notebook": "Notebook",
    **browsing.TITLES,
}


class LitTlApp(lit_app.LitApp):
    """A `LitApp` whose TransformerLens models answer field by field.

    Args:
        models: LIT models by name.
        datasets: LIT data sets by name.
        cache_bytes: bound on what is kept of predictions, for all models together.
        max_models: most models that the page may bring it to.
        access_log: of requests; None for none.
        access: what the page may load, and lists; None for what is shipped alone.
        gate: which requests are answered; None for those of this machine's user.
        frame_ancestors: other pages that may show this one in a frame.
        session: what pages open as `?session=start`.
        stores: that pages may look at, by label.
        **kw: as for `lit_nlp.app.LitApp`.
    """

    def __init__(
        self,
        models: lit_model.ModelMap,
        datasets: Mapping[str, lit_dataset.Dataset],
        *,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        max_models: int = 8,
        access_log: Optional[AccessLog] = None,
        gate: Optional[Gate] = None,
        access: Optional[PageAccess] = None,
        frame_ancestors: Sequence[str] = (),
        session: Optional[Session] = None,
        stores: Mapping[str, Store] = {},
        **kw: Any,
    ):
        self._predictions = PredictionCache(cache_bytes)
        self._access = access or PageAccess()
        self._loading, self._max_models = jobs.PatientLock(), max_models
        self._loading_data = jobs.PatientLock()
        self._pages: dict[str, str] = {}  # that variants are of
        self.board = JobBoard()
        """The jobs that requests have become."""
        self._requests = JobRequests(self.board, self._read, self._describe)
        self._sessions = SessionDesk(
            lambda: self._models,
            lambda: self._datasets,
            make_variant=lambda config: str(self._make_variant({"config": config})["name"]),
            refresh=self._refresh,
            start=session,
        )
        self._browse = browsing.BrowseDesk(
            stores, lambda: self._models, self._add_window, self._sessions.weights
        )
        self._windows: list[str] = []
        super().__init__(models, {**self._browse.first_windows(), **datasets}, **kw)
        monitor = Monitor(self._gauges(), log=access_log)
        self._routes = Routes(
            self._handlers(), kw["client_root"], gate or Gate(), monitor, frame_ancestors
        )

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """WSGI, by our own table of routes: LIT's is never asked."""
        return self._routes(environ, start_response)

    def _gauges(self) -> dict[str, Callable[[], float]]:
        return {
            "lit_tl_jobs_queued": lambda: self.board.counts()["queued"],
            "lit_tl_jobs_done": lambda: self.board.finished["done"],
            "lit_tl_jobs_failed": lambda: self.board.finished["failed"],
            "lit_tl_jobs_cancelled": lambda: self.board.finished["cancelled"],
            "lit_tl_jobs_running": lambda: self.board.counts()["running"],
            "lit_tl_cache_bytes": lambda: self._predictions.bytes,
            "lit_tl_models": lambda: sum(not name.startswith("_") for name in list(self._models)),
        }

    def _handlers(self) -> dict[str, Handler]:
        requests = self._requests
        handlers = {path: getattr(self, name) for path, name in LIT_ROUTES.items()}
        if self.ui_state_tracker is not None:
            handlers["/push_ui_state"] = self._push_ui_state
        handlers[ANALYSIS_PATH] = self._get_analysis
        handlers["/unload_model"] = self._unload_model
        handlers["/make_variant"] = self._make_variant
        handlers["/get_paths"] = self._get_paths
        handlers |= self._sessions.handlers() | self._browse.handlers()
        return {path: self._handler(answer) for path, answer in handlers.items()} | {
            "/get_job": requests.look,
            "/cancel_job": requests.cancel,
            "/get_jobs": requests.list_own,
        }

    def _handler(self, answer: Callable[..., Any]) -> Handler:
        made = self.make_handler(answer)
        return lambda request: made(self, request, request.environ)

    def _build_metadata(self) -> lit_types.JsonDict:
        """LIT comes here after it has put models in its cache of whole predictions, and before it
        uses them: ours take their places."""
        for name, model in self._models.items():
            if not isinstance(model, caching.CachingModelWrapper):
                continue
            if isinstance(model.wrapped, HookedTransformerLIT):
                found = variants.prompts_on_the_page(self._datasets)
                own = variants.served(model.wrapped, found, self._vector_file)
                stored = self._browse.stored_for(own)
                self._models[name] = LazyModel(own, self._predictions, stored)
            elif isinstance(model.wrapped, SalienceSibling):
                self._models[name] = model.wrapped
        info: lit_types.JsonDict = super()._build_metadata()
        for name in info["models"]:
            info["models"][name]["variant"] = variants.about(self._models, name)
        return info | {"stores": self._browse.labels}

    def _refresh(self) -> None:
        with self._loading_data:
            self._info = self._build_metadata()

    def _vector_file(self, path: str) -> pathlib.Path:
        return pathlib.Path(self._access.file(path))

    def _warm_start(
        self, rate: float, progress_indicator: Optional[Callable[..., Any]] = None
    ) -> None:
        """LIT's `--warm_start`: make what the page asks for first, of a share of each data set,
        before it opens."""
        for name, model in self._models.items():
            if not isinstance(model, LazyModel):
                continue
            for dataset_name in self._info["models"][name]["datasets"]:
                examples = list(self._datasets[dataset_name].examples)
                chosen = examples[: round(rate * len(examples))]
                batches = [chosen[i : i + 64] for i in range(0, len(chosen), 64)]
                for batch in progress_indicator(batches) if progress_indicator else batches:
                    model.fetch(batch, ["loss"])

    def _get_preds(
        self,
        data: lit_types.JsonDict,
        model: Optional[str] = None,
        requested_types: Optional[str] = None,
        requested_fields: Optional[str] = None,
        **kw: Any,
    ) -> Sequence[Any]:
        """As LIT's, but nothing is computed that was not asked for. Without types and fields:
        predictions that compute when they are read."""
        if model is None:
            raise ValueError("a request for predictions must name a model")
        lazy = self._models[model]
        if not isinstance(lazy, LazyModel | SalienceSibling):
            return list(super()._get_preds(data, model, requested_types, requested_fields, **kw))
        inputs = [example["data"] for example in data["inputs"]]
        if not requested_types and not requested_fields:
            return list(lazy.predict(inputs))
        return lazy.fetch(inputs, self._field_names(model, requested_types, requested_fields))

    def _field_names(
        self, model: str, requested_types: Optional[str], requested_fields: Optional[str]
    ) -> list[str]:
        """The outputs of a model that a request names, by themselves or by their types; all of them
        where it names none."""
        spec = self._get_model_spec(model)["output"]
        if not requested_types and not requested_fields:
            return list(spec)
        names = [name for name in (requested_fields or "").split(",") if name]
        for type_name in (requested_types or "").split(","):
            if not type_name:
                continue
            kind = getattr(lit_types, type_name, None)
            if not (isinstance(kind, type) and issubclass(kind, lit_types.LitType)):
                raise ValueError(f"{type_name!r} is not a LIT type")
            names += utils.find_spec_keys(spec, kind)
        return [name for name in dict.fromkeys(names) if name in spec]

    def _get_analysis(
        self,
        data: lit_types.JsonDict,
        model: str = "",
        dataset_name: str = "",
        analysis: str = "",
        other_model: str = "",
        file: str = "",
        **kw: Any,
    ) -> list[Any]:
        """Run an analysis on a prompt, perhaps with a counterpart behind it, of one model or two;
        as a `file` where one is asked for."""
        del kw
        interpreter = self._interpreters.get(analysis)
        if not isinstance(interpreter, AnalysisInterpreter):
            raise ValueError(f"there is no analysis {analysis!r} on this server")
        inputs = [example["data"] for example in data.get("inputs") or []]
        if dataset_name not in self._datasets:
            raise ValueError(f"there is no data set {dataset_name!r} on this server")
        asked = [self._models[name] for name in (model, other_model) if name or name == model]
        if not all(isinstance(each, LazyModel) for each in asked):
            raise ValueError(f"{analysis} looks into TransformerLens models alone")
        own, other = [*(each.wrapped for each in asked), None][:2]
        config = data.get("config") or {}
        data_set = self._datasets[dataset_name]
        return [interpreter.draw(inputs, own, data_set, config, other, file)]

    def _create_model(self, data: lit_types.JsonDict, *args: Any, **kw: Any) -> Any:
        """As LIT's, under a name that its client can handle, and one at a time: the libraries put
        weights into models in ways that two threads can't share."""
        with self._loading:
            name_for_a_url(data, self._models)
            held = variants.count_loaded(self._models)
            if held >= self._max_models:
                raise ValueError(
                    f"this server holds {held} models, as many as it may (--max_models): unload "
                    "one first"
                )
            return super()._create_model(data, *args, **kw)

    def _make_variant(self, data: lit_types.JsonDict, **kw: Any) -> Any:
        """Make a model under changes, and tell what there is now and what it is called."""
        with self._loading:
            config = data.get("config")
            name, model = variants.make(self._models, self._pages, config)
            if name not in self._models:
                self._pages[name] = str(config.get("page") or "")
                stored = self._browse.stored_for(model)
                self._models[name] = LazyModel(model, self._predictions, stored)
                self._models |= siblings(name, model)
                self._info = self._build_metadata()
        return {"info": self._info, "name": name}

    def _get_paths(self, data: lit_types.JsonDict, folder: str = "", **kw: Any) -> Any:
        """What the page may load, folder by folder."""
        del data, kw
        return self._access.listing(folder)

    def _unload_model(self, data: lit_types.JsonDict, model: str = "", **kw: Any) -> Any:
        """Let go of a model, and tell what there is now."""
        with self._loading:
            if model.startswith("_") or model not in self._models:
                raise ValueError(f"there is no model {model!r} on this server")
            if sum(not name.startswith("_") for name in self._models) == 1:
                raise ValueError("this is the only model: load another one first")
            gone = self._models.pop(model)
            self._pages.pop(model, None)
            for name in siblings(model, gone.wrapped) if isinstance(gone, LazyModel) else ():
                self._models.pop(name, None)
            self._info = self._build_metadata()
        del gone
        freed_memory.collect_and_give_back()
        return self._info

    def _create_dataset(self, data: lit_types.JsonDict, *args: Any, **kw: Any) -> Any:
        """As LIT's, under a name that its client can handle."""
        with self._loading_data:
            name_for_a_url(data, self._datasets)
            return super()._create_dataset(data, *args, **kw)

    def _add_window(self, label: str, data: lit_dataset.Dataset) -> dict[str, Any]:
        """A data set of some rows of a store; of those that came before, the last ones stay."""
        with self._loading_data:
            number = next(i for i in itertools.count(2) if f"{label}-{i}" not in self._datasets)
            name = f"{label}-{number}"
            self._datasets[name] = lit_dataset.IndexedDataset(base=data, id_fn=caching.input_hash)
            self._windows.append(name)
            while len(self._windows) > browsing.MOST_WINDOWS:
                self._datasets.pop(self._windows.pop(0), None)
            self._info = self._build_metadata()
        return {"dataset": name}

    def _preds_for_a_browser(
        self, data: lit_types.JsonDict, model: Optional[str] = None, **kw: Any
    ) -> Sequence[Any]:
        """What `/get_preds` sends: attention with as many digits as a figure shows, which makes it
        a third of the bytes."""
        lazy = self._models[model] if model is not None else None
        if isinstance(lazy, LazyModel):
            names = self._field_names(
                str(model), kw.get("requested_types"), kw.get("requested_fields")
            )
            size = lazy.reply_bytes([example["data"] for example in data["inputs"]], names)
            if size > MAX_REPLY_BYTES:
                raise ValueError(
                    f"the reply would have about {size / 1e6:.0f} MB, at most "
                    f"{MAX_REPLY_BYTES / 1e6:.0f} MB are sent: ask for fewer fields, fewer prompts "
                    "or shorter ones"
                )
        outputs = self._get_preds(data, model, **kw)
        attention = set(
            utils.find_spec_keys(self._get_model_spec(model)["output"], lit_types.AttentionHeads)
        )
        return [
            {
                name: replies.rounded(value, _ATTENTION_DIGITS) if name in attention else value
                for name, value in output.items()
            }
            for output in outputs
        ]

    def make_handler(self, fn: Callable[..., Any]) -> Callable[..., wrappers.Response]:
        """What LIT makes its own table of; see `JobRequests` for how a request is answered."""
        answer = self._preds_for_a_browser if fn == self._get_preds else fn
        return lambda app, request, environ: self._requests.answer(request, answer)

    def _read(self, request: wrappers.Request, query: Mapping[str, Any]) -> dict[str, Any]:
        data = read_body(request)
        if data.get("inputs") and "dataset_name" in query:
            data["inputs"] = self._reconstitute_inputs(data["inputs"], query["dataset_name"])
            if any(example["id"] != example["data"].get("_id") for example in data["inputs"]):
                raise ValueError("malformed example: its id differs from the one in its data")
        return data

    def _describe(self, path: str, query: Mapping[str, Any], data: Mapping[str, Any]) -> Described:
        """What is known of a request before it is answered."""
        name = query.get("interpreter") or query.get("analysis") or query.get("generator") or ""
        named = self._interpreters.get(name) or self._generators.get(name)
        many = len(data.get("inputs") or ()) > _MANY_INPUTS
        title = name or _TITLES.get(path, path[1:])
        if path == "/get_preds":
            title = f"{title} of {len(data.get('inputs') or ())} prompts"
        if path in _LOADING:
            config = data.get("config") or {}
            title = f"{title} {config.get('new_name') or config.get('model_name') or ''}".strip()
        models = [self._models.get(query.get(key, "")) for key in ("model", "other_model")]
        slow = SLOW_FIELDS & set((query.get("requested_fields") or "").split(","))
        long = (
            path in (*_LONG, *browsing.LONG) or _takes_long(named, data.get("config")) or bool(slow)
        )
        ours = all(each is None or isinstance(each, LazyModel) for each in models)
        return Described(
            title,
            background=many or long,
            at_once=path in _MAY_BE_KEPT and ours,
            state=lambda: " ".join(f"{id(each)} {_state(each)}" for each in models),
        )

    def stop(self) -> None:
        """Cancel all jobs."""
        self.board.stop()


def _takes_long(named: Any, config: Any) -> bool:
    if isinstance(named, AnalysisInterpreter):
        return named.takes_long(config if isinstance(config, dict) else {})
    return bool(getattr(named, "takes_long", False))


def _state(model: Any) -> str:
    """What changes when a model does, of a model that can tell."""
    state: Optional[Callable[[], str]] = getattr(model, "state", None)
    return "" if state is None else state()
