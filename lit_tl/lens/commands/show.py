"""`python -m lit_tl.lens show`: one prompt through a lens."""

import dataclasses
import pathlib
from typing import Optional

from lit_tl.lens.commands.train import check_writable
from lit_tl.lens.statistics import DECLARED, SingleFunction
from lit_tl.lens.streams import ResidualComponent
from lit_tl.settings import SettingError, Settings, Switch, known, required, setting

USAGE = """Draw what a model would predict at each layer.

  python -m lit_tl.lens show --model lit-tl-tiny --text "The capital of France is" --output \\
      lens.html"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """The flags of `show`.

    Raises:
        ValueError: a value is out of its range.
    """

    model: str = setting(
        "lit-tl-tiny",
        "Bundled model, TransformerLens alias, Hub id, local folder or GGUF file, with @revision.",
    )
    lens: str = setting(
        "auto",
        "auto, none (the logit lens), a tuned lens's folder or Hub id, a Jacobian lens (.pt).",
    )
    text: str = required("The prompt, in quotes.")
    output: str = setting("lens.html", "The file to write: .html, or .json for Plotly's.")
    statistic: SingleFunction = setting("entropy", "What colours the cells.")
    residual_component: ResidualComponent = setting("resid_pre", "What is read.")
    stride: int = setting(1, "Show every so many layers, and the last.", low=1)
    device: Optional[str] = setting(None, "cuda, cpu, ...; the best there is if not said.")
    prepend_bos: Switch = setting(
        "auto", "A beginning-of-text token in front: auto (as the model expects), true or false."
    )
    trust_remote_code: bool = setting(
        False, "Run model code that comes with a checkpoint. Read it first."
    )
    debug: bool = setting(False, "Show tracebacks of errors.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if pathlib.Path(self.output).suffix not in (".html", ".json"):
            raise SettingError(
                f"output is {self.output!r}: give a name that ends in .html or .json"
            )


def run(config: Config) -> str:
    """Write the figure; what to tell the user.

    Raises:
        ValueError, OSError: with a message for the user.
    """
    import numpy as np

    from lit_tl.engine.prompts import Prompter
    from lit_tl.engine.runner import Runner
    from lit_tl.lens.choice import choose_lenses
    from lit_tl.lens.trajectory import PredictionTrajectory
    from lit_tl.models.loading import load_model
    from lit_tl.models.sources import ModelSource

    output = pathlib.Path(config.output).expanduser()
    check_writable(output.parent, "output")
    source = ModelSource.parse(config.model)
    source.require_unchanged()
    trust = {"trust_remote_code": config.trust_remote_code}
    model = load_model(source.name, device=config.device, **source.version, **trust)
    choice = choose_lenses(model, config.lens)
    runner = Runner(model)
    prompter = Prompter(runner, max_length=2048, prepend_bos=known(config.prepend_bos))
    ids = np.array(prompter.from_text(config.text).ids)
    lens = choice.lenses[choice.best]
    trajectory = PredictionTrajectory.from_lens_and_model(
        lens, model, ids, residual_component=config.residual_component
    )
    if "targets" in DECLARED[config.statistic].needs:
        trajectory.targets = np.append(ids[1:], trajectory.model_log_probs[-1].argmax())
    statistic = getattr(trajectory, config.statistic)()
    figure = statistic.stride(config.stride).figure(
        f"{choice.best} lens of {config.model}: {statistic.name}"
    )
    text = figure.to_html(include_plotlyjs=True) if output.suffix == ".html" else figure.to_json()
    output.write_text(text, "utf-8")
    return (
        f"{output}: {choice.best} lens, {trajectory.num_layers} layers, "
        f"{trajectory.num_tokens} tokens. {choice.note}"
    ).strip()
