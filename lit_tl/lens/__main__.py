"""Lenses from the command line.

python -m lit_tl.lens show --model lit-tl-tiny --text "The capital of France is" --output lens.html
"""

import pathlib
import sys
from typing import NoReturn, Sequence

from absl import flags

USAGE = __doc__
_STATISTICS = ("entropy", "forward_kl", "max_probability", "cross_entropy", "rank")
_MODEL = flags.DEFINE_string("model", "lit-tl-tiny", "Bundled model, TransformerLens alias, Hub id or local folder.")
_LENS = flags.DEFINE_string("lens", "auto", "auto, none (the logit lens), a tuned lens's folder or Hub id, a Jacobian lens (.pt).")
_TEXT = flags.DEFINE_string("text", None, "The prompt.")
_OUTPUT = flags.DEFINE_string("output", None, "The file to write: .html, or .json for Plotly's.")
_STATISTIC = flags.DEFINE_enum("statistic", "entropy", _STATISTICS, "What colours the cells.")
_COMPONENT = flags.DEFINE_enum("residual_component", "resid_pre", ["resid_pre", "resid_mid", "resid_post"], "What is read.")
_STRIDE = flags.DEFINE_integer("stride", 1, "Show every so many layers, and the last.", lower_bound=1)
_DEVICE = flags.DEFINE_string("device", None, "cuda, cpu, ...; the best there is if not said.")


def show() -> str:
    """Write the figure; what to tell the user.

    Raises:
        ValueError, OSError: with a message for the user.
    """
    if not _TEXT.value:
        raise ValueError('no prompt: give one with --text "..."')
    output = pathlib.Path(_OUTPUT.value or "lens.html").expanduser()
    if output.suffix not in (".html", ".json"):
        raise ValueError(f"--output {output} must end in .html or .json")
    import numpy as np

    from lit_tl.lens.trajectory import PredictionTrajectory
    from lit_tl.models.lens_choice import choose_lenses
    from lit_tl.models.loading import load_model
    from lit_tl.passes.prompts import Prompter

    model = load_model(_MODEL.value, device=_DEVICE.value)
    choice = choose_lenses(model, _LENS.value)
    ids = np.array(Prompter(model, max_length=2048, prepend_bos=True).from_text(_TEXT.value).ids)
    trajectory = PredictionTrajectory.from_lens_and_model(
        choice.lenses[choice.best], model, ids, residual_component=_COMPONENT.value
    )
    if _STATISTIC.value in ("cross_entropy", "rank"):
        trajectory.targets = np.append(ids[1:], trajectory.model_log_probs[-1].argmax())
    statistic = getattr(trajectory, _STATISTIC.value)()
    figure = statistic.stride(_STRIDE.value).figure(f"{choice.best} lens of {_MODEL.value}: {statistic.name}")
    text = figure.to_html(include_plotlyjs=True) if output.suffix == ".html" else figure.to_json()
    output.write_text(text, "utf-8")
    return f"{output}: {choice.best} lens, {trajectory.num_layers} layers, {trajectory.num_tokens} tokens. {choice.note}".strip()


def fail(message: str, code: int) -> NoReturn:
    """End the command with a sentence on standard error."""
    print(f"lit_tl.lens: {message}", file=sys.stderr)
    sys.exit(code)


def main(argv: Sequence[str]) -> None:
    """The command: exit code 1 for what can't be done, 2 for a command line that can't be understood."""
    if any(argument in ("-h", "--help", "-help", "--helpfull") for argument in argv[1:]):
        print(USAGE, "\nFlags:\n", flags.FLAGS.main_module_help(), sep="")
        return
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        fail(f"{str(error).splitlines()[0]} (--help lists the flags)", 2)
    if rest[1:] != ["show"]:
        fail(f"{' '.join(rest[1:]) or 'nothing'!r} is no command: show is", 2)
    try:
        print(show())
    except (ValueError, OSError) as error:
        fail(str(error), 1)


if __name__ == "__main__":
    main(sys.argv)
