"""The recipe of ARCHITECTURE.md: a new analysis in one small file, found in Python, on the command
line, and on the page."""

import json
import pathlib
import urllib.request

import numpy as np
import pytest

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.analyses import __main__ as command_line
from lit_tl.analyses.catalog import CatalogError, analyses_in
from tests.browser.conftest import LitServer

ANALYSIS = '''
import dataclasses
from typing import Iterator

import numpy as np
import xarray as xr

from lit_tl.analyses.contract import analysis
from lit_tl.analyses.contract import Subject
from lit_tl.engine.reductions import norms
from lit_tl.engine.requests import Observe
from lit_tl.engine.sites import Site
from lit_tl.figures.grids import layer_by_head
from lit_tl.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValueNormSettings(Settings):
    position: int = setting(-1, "After which token; -1 is the last.", low=-1, high=2000)


@analysis("Head output norms", figure=layer_by_head)
def head_output_norms(subject: Subject, settings: ValueNormSettings) -> Iterator[xr.Dataset]:
    """The length of what each head writes, after its output projection."""
    prompt = subject.model.prompt(subject.need_example())
    observe = {"norms": Observe(Site("result", positions=settings.position), norms)}
    (batch,) = subject.model.runner.run([prompt], observe=observe, logits="none")
    by_layer = batch.observed["norms"]
    values = np.array([by_layer[layer][0].tolist() for layer in sorted(by_layer)])
    yield xr.Dataset(
        {"norm": (("layer", "head"), values)},
        coords={"layer": sorted(by_layer), "head": np.arange(values.shape[1])},
        attrs={"value": "norm", "unit": "length"},
    )
'''
TEXT = "The capital of France is"


@pytest.fixture
def own(tmp_path: pathlib.Path) -> pathlib.Path:
    file = tmp_path / "mine.py"
    file.write_text(ANALYSIS)
    return file


def expected(bundled: HookedTransformerLIT) -> np.ndarray:
    model = bundled.model
    model.set_use_attn_result(True)
    try:
        _, cache = model.run_with_cache(model.to_tokens(TEXT))
    finally:
        model.set_use_attn_result(False)
    rows = [cache[f"blocks.{layer}.attn.hook_result"][0, -1].norm(dim=-1) for layer in range(4)]
    return np.array([row.detach().numpy() for row in rows])


def test_the_analysis_has_fewer_than_forty_lines_of_its_own(own: pathlib.Path) -> None:
    lines = [line for line in own.read_text().splitlines() if line.strip()]
    print(f"{len(lines)} lines")
    assert len(lines) < 40


def test_python_has_it(own: pathlib.Path, bundled: HookedTransformerLIT) -> None:
    (analysis,) = analyses_in(str(own))
    figure = lit_tl.draw(analysis, bundled, {"text": TEXT})
    assert np.allclose(np.array(figure.data[0].z), expected(bundled), atol=1e-4)


def test_the_command_line_has_it(
    own: pathlib.Path, bundled: HookedTransformerLIT, capsys: pytest.CaptureFixture[str]
) -> None:
    command_line.main(["analyses", "list", f"--analyses={own}"])
    assert "Head output norms: The length of what each head writes" in capsys.readouterr().out
    output = own.parent / "norms.csv"
    words = ["Head output norms", "--analyses", str(own), "--text", TEXT, "--output", str(output)]
    command_line.main(["analyses", *words])
    head, *rows = [line.split(",") for line in output.read_text().splitlines()]
    assert head == ["layer", "head", "norm"]
    values = np.array([float(row[2]) for row in rows]).reshape(4, 4)
    assert np.allclose(values, expected(bundled), atol=1e-4)


def test_the_page_has_it(own: pathlib.Path, bundled: HookedTransformerLIT) -> None:
    server = LitServer("--datasets", "ioi", "--analyses", str(own))
    try:
        info = post(server.url + "get_info", {})
        result = info["interpreters"]["Head output norms"]
        assert result["configSpec"]["position"]["default"] == -1
        assert "Head output norms" in info["models"]["lit-tl-tiny"]["interpreters"]
        query = "get_analysis?model=lit-tl-tiny&dataset_name=ioi&analysis=Head%20output%20norms"
        body = {"inputs": [{"id": "", "data": {"text": TEXT, "_id": ""}}], "config": {}}
        (drawing,) = post(server.url + query, body)
        values = np.array([row[2] for row in drawing["rows"]]).reshape(4, 4)
        assert np.allclose(values, expected(bundled), atol=1e-4)
    finally:
        assert server.stop() == 0


def post(url: str, body: object) -> dict:
    request = urllib.request.Request(url, data=json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request) as reply:
        parsed: dict = json.load(reply)
        return parsed


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none.py", "none.py does not exist"),
        ("no.such.module", "there is no module 'no.such.module'"),
        ("json", "json defines no analysis: decorate a function with @analysis"),
    ],
)
def test_what_holds_no_analysis_is_refused(source: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        analyses_in(source)
