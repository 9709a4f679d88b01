"""The page, its figures and their numbers from Python."""

import contextlib
from typing import Any, Optional, Sequence

import xarray as xr

from lit_tl import versions
from lit_tl.analyses import drawing
from lit_tl.analyses.contract import Analysis, Drawn, Subject
from lit_tl.analyses.loaded_model import Example, LoadedModel
from lit_tl.engine.hugging_face_models import is_hugging_face
from lit_tl.engine.runner import Runner
from lit_tl.engine.transformer_lens_models import is_transformer_lens
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.models.loading import with_hooks
from lit_tl.server import build
from lit_tl.server.gate import Gate
from lit_tl.server.link import announce, is_loopback, token_for
from lit_tl.server.page_access import PageAccess
from lit_tl.server.serving import Server, bind

_LOADED = "_lit_tl_loaded"


def analyze(
    analysis: drawing.Named,
    model: Any,
    example: Optional[Example] = None,
    *,
    counterpart: Optional[Example] = None,
    other_model: Any = None,
    examples: Sequence[Example] = (),
    **settings: Any,
) -> xr.Dataset:
    """The numbers of an analysis. Asking again costs no pass.

    Args:
        analysis: as the page calls it, or an `Analysis` of your own.
        model: a `HookedTransformerLIT`, or a model of TransformerLens or Hugging Face.
        example: `{"text": ...}`, with `answer` and `foil` where the analysis needs them.
        counterpart: a second prompt, to compare with.
        other_model: a second model, to compare with.
        examples: a data set, for analyses of one.
        **settings: as on the page; what is left out has its default.

    Returns:
        The answer, with named axes, coordinates, and attributes such as `unit` and `note`.

    Raises:
        ValueError: there is no such analysis or setting, or the subject does not suit it.
    """
    return drawing.analyze(
        analysis,
        _loaded(model),
        example,
        counterpart=counterpart,
        other_model=None if other_model is None else _loaded(other_model),
        examples=examples,
        **settings,
    )


def draw(
    analysis: drawing.Named,
    model: Any,
    example: Optional[Example] = None,
    *,
    counterpart: Optional[Example] = None,
    other_model: Any = None,
    examples: Sequence[Example] = (),
    **settings: Any,
) -> Drawn:
    """The figure that the page draws, in a notebook. Drawing it again costs no pass.

    Args:
        analysis: as the page calls it, or an `Analysis` of your own.
        model: a `HookedTransformerLIT`, or a model of TransformerLens or Hugging Face.
        example: `{"text": ...}`, with `answer` and `foil` where the figure needs them.
        counterpart: a second prompt, to compare with.
        other_model: a second model, to compare with.
        examples: a data set, for analyses of one.
        **settings: as on the page; what is left out has its default.

    Returns:
        Matrices are a `Grid`, which a notebook shows with cards and zoom, and which
        `grid.save("lens.pdf")` writes at paper size. Anything else is a figure of Plotly.

    Raises:
        ValueError: there is no such analysis or setting, or the subject does not suit it.
    """
    chosen = drawing.chosen(analysis)
    subject = Subject(
        model=_loaded(model),
        example=example,
        counterpart=counterpart,
        other_model=None if other_model is None else _loaded(other_model),
        examples=examples,
    )
    read = chosen.settings.read(settings)
    with drawing.progress_bar():
        return drawing.draw(chosen, chosen.answer(subject, read), subject, read)


def _loaded(model: Any) -> LoadedModel:
    if isinstance(model, LoadedModel):
        return model
    if isinstance(model, HookedTransformerLIT):
        return model.loaded
    # With the model itself, so that its results go when it does.
    attributes: dict[str, Any] = vars(model)
    if _LOADED not in attributes:
        plain = is_hugging_face(model) and not is_transformer_lens(model)
        hooked = with_hooks(model) if plain else model
        attributes[_LOADED] = LoadedModel(Runner(hooked))
    loaded: LoadedModel = attributes[_LOADED]
    return loaded


def serve(
    models: Optional[build.Models] = None,
    datasets: Optional[build.Datasets] = None,
    *,
    host: str = "127.0.0.1",
    port: int = 5432,
    token: Optional[str] = None,
    allow_host: Sequence[str] = (),
    frame_ancestors: Sequence[str] = (),
    allow_path: Optional[Sequence[str]] = None,
    allow_hub: bool = False,
    block: bool = True,
    quiet: bool = False,
    config: Optional[build.BuildConfig] = None,
    analyses: Sequence[Analysis] = (),
    **lit_options: Any,
) -> Server:
    """Open LIT on some models and prompts, as the command `python -m lit_tl.launch` does.

    Args:
        models: sources as in `--models`, or a mapping from labels to sources, TransformerLens
            models or LIT models. Default: the bundled model.
        datasets: sources as in `--datasets`, or a mapping from labels to sources, LIT data sets or
            lists of prompts. Default: all paired tasks.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        token: what a browser must bring; None makes one where `host` lets other machines in.
        allow_host: further host names that the page is opened by.
        frame_ancestors: other pages that may show this one in a frame, as the
            Content-Security-Policy names them.
        allow_path: folders below which the page may load models and data. Default: the current
            one, and none where `host` lets other machines in.
        allow_hub: whether the page may load from the Hugging Face Hub.
        block: serve until Ctrl-C. Otherwise serve from a thread; the server that is returned has
            `url` and `stop()`.
        quiet: print nothing.
        config: how models and data are loaded.
        analyses: of your own, for the Figures panel.
        **lit_options: further options of `lit_nlp.app.LitApp`, such as `layouts` or `page_title`.

    Raises:
        TypeError: an option is unknown, or a model is none.
        ValueError: a model or data set can't be loaded; the message says why.
        lit_tl.server.serving.ServingError: the port can't be used.
    """
    build.check_lit_options(lit_options)
    token = token_for(host, token, proxied=bool(allow_host))
    access = PageAccess.of(allow_path, hub=allow_hub, loopback=is_loopback(host) and not allow_host)
    listener = bind(host, port)
    gate = Gate(names=allow_host, token=token, port=listener.getsockname()[1])
    say = build.StartLog(quiet)
    if warning := versions.untested():
        say(f"warning: {warning}")
    settings = config or build.BuildConfig()
    with contextlib.ExitStack() as unless_served:
        unless_served.callback(listener.close)
        data = build.load_datasets(datasets, settings, say)
        loaded = build.load_models(models, settings, say, data)
        app = build.build_app(
            loaded,
            data,
            settings,
            analyses=analyses,
            gate=gate,
            access=access,
            frame_ancestors=frame_ancestors,
            **lit_options,
        )
        unless_served.pop_all()
    server = Server(app, listener, at_end=app.stop, proxied=bool(allow_host))
    if not quiet:
        print(announce(server.url, token, server.port), flush=True)
    if block:
        server.run()
        return server
    return server.start()


_NOTEBOOKS = ("http://localhost:*", "http://127.0.0.1:*", "https://localhost:*", "vscode-webview:")
"""Where notebooks of this machine's user are shown."""


class Widget:
    """LIT in a notebook's output cell. Displays itself where it is a cell's last value."""

    def __init__(self, server: Server, height: int):
        self.server = server
        self.height = height

    def _repr_html_(self) -> str:
        style = f'width="100%" height="{int(self.height)}" style="border:0" title="LIT"'
        return f'<iframe src="{self.server.url}" {style}></iframe>'

    def stop(self) -> None:
        """End the server behind the widget."""
        self.server.stop()


def widget(
    models: Optional[build.Models] = None,
    datasets: Optional[build.Datasets] = None,
    *,
    height: int = 900,
    **options: Any,
) -> Widget:
    """Open LIT in a notebook. Arguments are those of `serve`, and the `height` in pixels."""
    defaults: dict[str, Any] = {
        "port": 0,
        "quiet": True,
        "default_layout": "compact",
        "frame_ancestors": _NOTEBOOKS,
    }
    return Widget(serve(models, datasets, block=False, **(defaults | options)), height)
