"""The page from Python."""

import socket
import urllib.request

import pytest

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.server.serving import bind


def test_serve_takes_models_and_prompts_and_stops(bundled: HookedTransformerLIT) -> None:
    server = lit_tl.serve(
        {"tiny": bundled.model},
        {"mine": ["The king", "The queen"]},
        port=0,
        block=False,
        quiet=True,
    )
    try:
        with urllib.request.urlopen(server.url) as page:
            assert b"<lit-app>" in page.read()
        request = urllib.request.Request(
            server.url + "get_dataset?dataset_name=mine", data=b"{}", method="POST"
        )
        with urllib.request.urlopen(request) as reply:
            assert b"The queen" in reply.read()
    finally:
        server.stop()


def test_the_widget_is_a_frame_on_a_server_of_its_own(bundled: HookedTransformerLIT) -> None:
    widget = lit_tl.widget({"tiny": bundled}, {"mine": ["The king"]}, height=500)
    try:
        assert widget._repr_html_().startswith(f'<iframe src="{widget.server.url}"')
        assert 'height="500"' in widget._repr_html_()
    finally:
        widget.stop()


def test_mistakes_are_named_and_leave_the_port_free(bundled: HookedTransformerLIT) -> None:
    with pytest.raises(
        TypeError,
        match=r"'page_titel' is not an option of lit_tl\.serve or LIT: did you mean 'page_title'",
    ):
        lit_tl.serve({"tiny": bundled}, ["ioi"], port=0, page_titel="x")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ValueError, match="unknown data set"):
        lit_tl.serve({"tiny": bundled}, ["ioii"], port=port, block=False, quiet=True)
    bind("127.0.0.1", port).close()
