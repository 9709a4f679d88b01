"""How a figure is made again."""

import pathlib
import shlex
import subprocess
import sys

import numpy as np

from lit_tl import HookedTransformerLIT, Session
from lit_tl.report import again
from tests.report.conftest import PAIR, kept


def test_the_command_makes_the_figure(
    tiny: HookedTransformerLIT, session: Session, tmp_path: pathlib.Path
) -> None:
    """With its settings, in a process of its own; its numbers are those that were kept."""
    example = {name: PAIR[name] for name in ("text", "answer", "foil")}
    figure = kept(tiny, "Lens", example, statistic="rank", stride=2)
    line = again.command(figure, session.models)
    assert line is not None
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "lit_tl.analyses"]
    words = [sys.executable, *words[1:-1], "--output=numbers.csv"]
    subprocess.run(words, cwd=tmp_path, check=True, timeout=120, capture_output=True)
    written = (tmp_path / "numbers.csv").read_text().splitlines()
    expected = figure["csv"].splitlines()
    assert written[0] == expected[0]
    assert len(written) == len(expected)
    ours, theirs = (
        [float(row.rsplit(",", 1)[1]) for row in rows[1:]] for rows in (written, expected)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_no_command_is_given_where_none_does_it(
    tiny: HookedTransformerLIT, session: Session
) -> None:
    """A pair, a difference, or a model that was made elsewhere."""
    (figure,) = [each for each in session.figures if each["analysis"] == "Activation patching"]
    assert again.command(figure, session.models) is None
    lens = session.figures[0]
    assert again.command({**lens, "settings": {"minus": "other model"}}, session.models) is None
    elsewhere = [{**session.models[0], "source": None}]
    assert again.command(lens, elsewhere) is None
