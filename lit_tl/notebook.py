"""The page from Python: `lit_tl.serve(...)`, and `lit_tl.widget(...)` in a notebook."""

import contextlib
from typing import Any, Optional

from lit_tl.server import build
from lit_tl.server.serving import Server, bind


def serve(
    models: Optional[build.Models] = None,
    datasets: Optional[build.Datasets] = None,
    *,
    host: str = "127.0.0.1",
    port: int = 5432,
    block: bool = True,
    quiet: bool = False,
    config: Optional[build.BuildConfig] = None,
    **lit_options: Any,
) -> Server:
    """Open LIT on some models and prompts, as the command `python -m lit_tl.launch` does.

    Args:
        models: sources as in `--models`, or a mapping from labels to sources, TransformerLens models or LIT models. Default:
            the bundled model.
        datasets: sources as in `--datasets`, or a mapping from labels to sources, LIT data sets or lists of prompts. Default:
            all paired tasks.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        block: serve until Ctrl-C. Otherwise serve from a thread; the server that is returned has `url` and `stop()`.
        quiet: print nothing.
        config: how models and data are loaded.
        **lit_options: further options of `lit_nlp.app.LitApp`, such as `layouts` or `page_title`.

    Raises:
        TypeError: an option is unknown, or a model is none.
        ValueError: a model or data set can't be loaded; the message says why.
        lit_tl.server.serving.ServingError: the port can't be used.
    """
    build.check_lit_options(lit_options)
    listener = bind(host, port)
    say = build.Progress(quiet)
    settings = config or build.BuildConfig()
    with contextlib.ExitStack() as unless_served:
        unless_served.callback(listener.close)
        loaded_datasets = build.load_datasets(datasets, settings, say)
        app = build.build_app(build.load_models(models, settings, say), loaded_datasets, settings, **lit_options)
        unless_served.pop_all()
    server = Server(app, listener)
    if not quiet:
        print(f"LIT is at {server.url}", flush=True)
    if block:
        server.run()
        return server
    return server.start()


class Widget:
    """LIT in a notebook's output cell. Displays itself where it is a cell's last value."""

    def __init__(self, server: Server, height: int):
        self.server = server
        self.height = height

    def _repr_html_(self) -> str:
        return f'<iframe src="{self.server.url}" width="100%" height="{int(self.height)}" style="border:0" title="LIT"></iframe>'

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
    defaults: dict[str, Any] = {"port": 0, "quiet": True, "default_layout": "compact"}
    return Widget(serve(models, datasets, block=False, **(defaults | options)), height)
