"""What lenses read of a prompt, as figures: the grid of layers and positions, tokens over layers, and a data set's mean."""

import dataclasses
from typing import Any, Mapping, Optional, Sequence

import numpy as np
import numpy.typing as npt
import torch
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_tl.figures import lens as figures
from lit_tl.interpreters.asking import wrapped
from lit_tl.interpreters.figure import Drawing, FigureInterpreter, snippet_of
from lit_tl.lens import measures
from lit_tl.lens.labels import strided
from lit_tl.lens.trajectory import PredictionTrajectory
from lit_tl.models.engine import Engine
from lit_tl.models.targets import target_token
from lit_tl.models.wrapper import engine_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Statistic:
    measure: Any
    unit: str = "nats"
    colorscale: str = "RdBu_r"
    low: Optional[float] = None
    high: Optional[float] = None
    needs_other: bool = False
    needs_answer: bool = False


STATISTICS: Mapping[str, _Statistic] = {
    "entropy": _Statistic(measure=measures.entropy, low=0.0),
    "forward KL": _Statistic(measure=measures.forward_kl, low=0.0),
    "max probability": _Statistic(measure=measures.max_probability, unit="", colorscale="Teal", low=0.0, high=1.0),
    "cross entropy": _Statistic(measure=measures.cross_entropy, low=0.0),
    "rank": _Statistic(measure=measures.rank, unit="", low=1.0),
    "log prob. difference": _Statistic(measure=measures.log_prob_diff, needs_answer=True),
    "KL divergence": _Statistic(measure=measures.kl_divergence, low=0.0, needs_other=True),
    "JS divergence": _Statistic(measure=measures.js_divergence, low=0.0, high=float(np.log(2)), needs_other=True),
    "total variation": _Statistic(
        measure=measures.total_variation, unit="", colorscale="Teal", low=0.0, high=1.0, needs_other=True
    ),
}
_KINDS = ["best", "logit", "tuned", "jacobian"]
_AGAINST = ("nothing", "pinned prompt", "other model")
_TOP_K = 8


def _common_spec() -> dict[str, lit_types.LitType]:
    return {
        "lens": lit_types.CategoryLabel(default="best", vocab=list(_KINDS), required=False),
        "residual_component": lit_types.CategoryLabel(
            default="resid_pre", vocab=["resid_pre", "resid_mid", "resid_post"], required=False
        ),
    }


def read(engine: Engine, kind: str, example: Mapping[str, Any], component: str) -> PredictionTrajectory:
    """A trajectory of one example, its targets being its own next tokens and last the data's answer (or else what the model says),
    its anti-targets the data's foil.

    Raises:
        ValueError: the model has no such lens.
    """
    choice = engine.lenses
    kind = choice.best if kind == "best" else kind
    if kind not in choice.lenses:
        raise ValueError(f"this model has no {kind} lens, but {', '.join(choice.lenses)}: give one with --lens")
    prompt = engine.prompt(example)
    with engine.lock:
        trajectory = PredictionTrajectory.from_lens_and_model(
            choice.lenses[kind], engine.model, np.array(prompt.ids), residual_component=component
        )
    answer, foil = (target_token(engine.prompter, example.get(name) or "") for name in ("answer", "foil"))
    last = _likeliest(trajectory, len(prompt.ids) - 1, 1)[0] if answer is None else answer
    trajectory.targets = np.array([*prompt.ids[1:], last])
    trajectory.anti_targets = None if foil is None else np.full(len(prompt.ids), foil)
    return trajectory


def _likeliest(trajectory: PredictionTrajectory, position: int, count: int) -> list[int]:
    """What the model itself says at one position."""
    here = trajectory.slice_sequence(slice(position, position + 1))
    return np.argsort(-here.model_log_probs[0])[:count].tolist()


def _layer_names(engine: Engine, component: str) -> list[str]:
    suffix = {"resid_pre": "", "resid_mid": " mid", "resid_post": " post"}[component]
    return [*(f"{layer}{suffix}" for layer in range(int(engine.model.cfg.n_layers))), "output"]


def _engine(model: lit_model.Model) -> Engine:
    inner = wrapped(model)
    assert inner is not None
    return engine_of(inner)


class LensGrid(FigureInterpreter):
    """Layers by positions: each cell its likeliest token, coloured by a statistic."""

    name = "Lens"

    def __init__(self) -> None:
        self.peers: Mapping[str, lit_model.Model] = {}
        """The server's models, to compare with another one."""

    def description(self) -> str:
        """What it shows."""
        return "What the model would say at each layer. Click a column for its tokens over the layers."

    def config_spec(self) -> lit_types.Spec:
        """Which lens, and which number."""
        return {
            **_common_spec(),
            "beside": lit_types.CategoryLabel(default="nothing", vocab=["nothing", *_KINDS[1:]], required=False),
            "statistic": lit_types.CategoryLabel(default="entropy", vocab=list(STATISTICS), required=False),
            "against": lit_types.CategoryLabel(
                default="nothing", vocab=["nothing", "pinned prompt", "other model"], required=False
            ),
            "stride": lit_types.Integer(default=1, min_val=1, max_val=64, required=False),
        }

    def run(
        self,
        inputs: Sequence[Mapping[str, Any]],
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        model_outputs: Optional[Sequence[Mapping[str, Any]]] = None,
        config: Optional[Mapping[str, Any]] = None,
    ) -> list[Any]:
        """One result: of the first input, against the second where that is asked for."""
        read_of = ("text", "answer", "foil")
        pinned = {"pinned": {name: inputs[1][name] for name in read_of if inputs[1].get(name)}} if len(inputs) > 1 else {}
        return [self.look(inputs[0], model, {**(config or {}), **pinned})]

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """As of any figure; `pinned` is the prompt to compare with."""
        own = {key: value for key, value in given.items() if key != "pinned"}
        pinned = {"pinned": given["pinned"]} if given.get("pinned") is not None and own.get("against") == "pinned prompt" else {}
        return {**super().settings(own), **pinned}

    def draw(self, model: lit_model.Model, example: Mapping[str, Any], **settings: Any) -> Drawing:
        """The grid, or two side by side."""
        engine = _engine(model)
        statistic = STATISTICS[str(settings["statistic"])]
        against, note = self._against(model, settings)
        if statistic.needs_other and against is None:
            raise ValueError(f"{settings['statistic']} compares: choose what to set this against")
        if statistic.needs_answer and not (example.get("answer") and example.get("foil")):
            raise ValueError(f"{settings['statistic']} needs an answer and a foil: fill them in in the datapoint editor")
        kinds = [str(settings["lens"])] + ([str(settings["beside"])] if settings["beside"] != "nothing" else [])
        component = str(settings["residual_component"])
        kept = strided(int(engine.model.cfg.n_layers) + 1, int(settings["stride"] or 1))
        names = _layer_names(engine, component)
        tokens = engine.prompter.vocabulary.strings(engine.prompt(example).ids)
        grids, rows = [], []
        for kind in kinds:
            got = self._numbers(engine, kind, example, component, statistic, against, kept)
            shown = engine.lenses.best if kind == "best" else kind
            grid = _grid(engine, f"{shown} lens", got, [names[i] for i in kept])
            grids.append(grid)
            rows += [
                [shown, grid.layers[layer], pos, tokens[pos], grid.top_tokens[layer][pos][0], float(grid.values[layer, pos])]
                for layer in range(len(kept))
                for pos in range(grid.values.shape[1])
            ]
        figure = figures.lens_grids(
            grids,
            tokens,
            name=str(settings["statistic"]),
            unit=statistic.unit,
            colorscale=statistic.colorscale,
            low=statistic.low,
            high=statistic.high,
        )
        columns = ["lens", "layer", "position", "token", "top_token", str(settings["statistic"])]
        return Drawing(
            figure=figure, columns=columns, rows=rows, tokens=tokens, note=" ".join(filter(None, [engine.lenses.note, note]))
        )

    def _against(self, model: lit_model.Model, settings: Mapping[str, Any]) -> tuple[Optional[tuple[Engine, Any]], str]:
        if settings["against"] == "pinned prompt":
            if settings.get("pinned") is None:
                raise ValueError("no prompt is pinned: pin one to set this against it")
            return (_engine(model), settings["pinned"]), "Against the pinned prompt, position by position."
        if settings["against"] == "other model":
            mine = wrapped(model)
            for name, peer in self.peers.items():
                other = wrapped(peer)
                if other is not None and other is not mine:
                    return (engine_of(other), None), f"Against {name}."
            raise ValueError("there is no other model to set this against: load one in the Configure dialog")
        return None, ""

    def _numbers(
        self,
        engine: Engine,
        kind: str,
        example: Mapping[str, Any],
        component: str,
        statistic: _Statistic,
        against: Optional[tuple[Engine, Any]],
        rows: Sequence[int],
    ) -> dict[str, "npt.NDArray[Any]"]:
        trajectory, other = read(engine, kind, example, component), None
        if against is not None and statistic.needs_other:
            its_engine, its_example = against
            other = read(its_engine, kind, its_example or example, component)
            if other.vocab_size != trajectory.vocab_size:
                raise ValueError("the other model has another vocabulary: their predictions can't be compared")
            shared = slice(0, min(trajectory.num_tokens, other.num_tokens))
            trajectory, other = trajectory.slice_sequence(shared), other.slice_sequence(shared)
        count = min(_TOP_K, trajectory.vocab_size)
        if statistic.needs_answer:
            trajectory.targets = np.full(trajectory.num_tokens, target_token(engine.prompter, str(example["answer"])))
        ids, probabilities = measures.parts(measures.top_tokens, count)
        with engine.lock:
            return trajectory.sweep({"values": statistic.measure, "ids": ids, "probabilities": probabilities}, other, rows)


def _grid(engine: Engine, title: str, got: Mapping[str, Any], names: Sequence[str]) -> figures.Grid:
    strings = engine.prompter.vocabulary.strings
    return figures.Grid(
        title=title,
        values=got["values"],
        top_tokens=[[strings(cell) for cell in row] for row in got["ids"].tolist()],
        top_values=got["probabilities"],
        layers=names,
    )


class LensTrajectory(FigureInterpreter):
    """Tokens over layers at one position."""

    name = "Lens trajectory"

    def description(self) -> str:
        """What it shows."""
        return "The probability of chosen tokens at one position, layer by layer."

    def config_spec(self) -> lit_types.Spec:
        """Where, and which tokens."""
        return {
            **_common_spec(),
            "position": lit_types.Integer(default=-1, min_val=-512, max_val=4096, required=False),
            "tokens": lit_types.String(default="", required=False),
        }

    def draw(self, model: lit_model.Model, example: Mapping[str, Any], **settings: Any) -> Drawing:
        """The tokens that are named (with a comma between them), or the model's likeliest, the data's answer and its foil."""
        engine = _engine(model)
        component, position = str(settings["residual_component"]), int(settings["position"])
        trajectory = read(engine, str(settings["lens"]), example, component)
        n = trajectory.num_tokens
        if not -n <= position < n:
            raise ValueError(f"position {position} is out of range: this prompt has tokens 0 to {n - 1}, or -1 for the last")
        position %= n
        ids = self._tokens(engine, example, trajectory, position, str(settings["tokens"] or ""))
        chosen = torch.tensor(ids)
        here = trajectory.slice_sequence(slice(position, position + 1))
        with engine.lock:
            probabilities = here.sweep({"p": lambda log_probs, **known: log_probs[..., chosen.to(log_probs.device)].exp()})["p"][
                :, 0
            ]
        layers = _layer_names(engine, component)
        names = engine.prompter.vocabulary.strings(ids)
        tokens = engine.prompter.vocabulary.strings(engine.prompt(example).ids)
        title = f"after {position} {figures.readable(tokens[position])}"
        return Drawing(
            figure=figures.lines_over_layers(probabilities, names, layers, title=title, unit="probability"),
            columns=["layer", "token", "probability"],
            rows=[[layers[i], name, float(probabilities[i, j])] for i in range(len(layers)) for j, name in enumerate(names)],
            tokens=tokens,
            note=engine.lenses.note,
        )

    def _tokens(
        self, engine: Engine, example: Mapping[str, Any], trajectory: PredictionTrajectory, position: int, named: str
    ) -> list[int]:
        if named.strip():
            found = [target_token(engine.prompter, part) for part in named.split(",") if part]
            return list(dict.fromkeys(token for token in found if token is not None))
        likeliest = _likeliest(trajectory, position, 5)
        if position == trajectory.num_tokens - 1:
            named_by_data = (target_token(engine.prompter, example.get(name) or "") for name in ("answer", "foil"))
            likeliest += [token for token in named_by_data if token is not None]
        return list(dict.fromkeys(likeliest))


class LensOverData(FigureInterpreter):
    """A statistic's mean over a data set, layer by layer, with its spread."""

    name = "Lens over the data set"

    def description(self) -> str:
        """What it shows."""
        return "Mean over all positions of the data set's prompts, for each layer, and one standard deviation to either side."

    def config_spec(self) -> lit_types.Spec:
        """Which number, of how many prompts."""
        alone = [name for name, statistic in STATISTICS.items() if not (statistic.needs_other or statistic.needs_answer)]
        return {
            **_common_spec(),
            "statistic": lit_types.CategoryLabel(default="forward KL", vocab=alone, required=False),
            "max_prompts": lit_types.Integer(default=50, min_val=1, max_val=10_000, required=False),
        }

    def run(
        self,
        inputs: Sequence[Mapping[str, Any]],
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        model_outputs: Optional[Sequence[Mapping[str, Any]]] = None,
        config: Optional[Mapping[str, Any]] = None,
    ) -> list[Any]:
        """One result, of the data set."""
        return [self.look({"prompts": list(dataset.examples)}, model, config or {})]

    def draw(self, model: lit_model.Model, example: Mapping[str, Any], **settings: Any) -> Drawing:
        """`example["prompts"]` is a list of examples; an example with a text alone is a list of one."""
        engine = _engine(model)
        statistic = STATISTICS[str(settings["statistic"])]
        component = str(settings["residual_component"])
        prompts = list(example.get("prompts") or [example])[: int(settings["max_prompts"])]
        values = []
        for prompt in prompts:
            trajectory = read(engine, str(settings["lens"]), prompt, component)
            with engine.lock:
                values.append(trajectory.sweep({"values": statistic.measure})["values"])
        joined = np.concatenate(values, axis=1).astype(float)
        means, spreads, layers = joined.mean(1), joined.std(1), _layer_names(engine, component)
        name = str(settings["statistic"])
        title = f"{name}, {len(prompts)} prompts, {joined.shape[1]} tokens"
        return Drawing(
            figure=figures.band_over_layers(means.tolist(), spreads.tolist(), layers, name=name, unit=statistic.unit, title=title),
            columns=["layer", f"mean {name}", "standard deviation"],
            rows=[list(row) for row in zip(layers, means.tolist(), spreads.tolist(), strict=True)],
            tokens=[],
            note=engine.lenses.note,
        )

    def snippet(self, model: lit_model.Model, example: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
        """As of any figure, with the texts that were read."""
        few = [{"text": prompt["text"]} for prompt in example["prompts"][: int(settings["max_prompts"])]]
        inner = wrapped(model)
        assert inner is not None
        return snippet_of(inner, self.name, {"prompts": few}, settings)
