"""One declaration makes flags, forms and keywords, and its bounds hold wherever a value comes
from."""

import dataclasses
from typing import Any, Literal, Optional

import pytest

from lit_tl import flags
from lit_tl.analyses.catalog import catalog
from lit_tl.lit.forms import form_of, read_form
from lit_tl.settings import SettingError, Settings, declarations, required, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample(Settings):
    score: Literal["induction", "entropy"] = setting("induction", "Which score.")
    top: int = setting(20, "How many.", low=1, high=100)
    rate: float = setting(0.5, "How fast.", low=0.0)
    whole: bool = setting(False, "All of it.")
    layers: tuple[int, ...] = setting((0, 1), "Which layers.")
    names: tuple[str, ...] = setting((), "Which names.")
    most: Optional[int] = setting(None, "At most.", low=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needed(Settings):
    path: str = required("Where from.")


GOOD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"score": "entropy"}, {"score": "entropy"}),
    ({"top": "7"}, {"top": 7}),
    ({"top": 7.0}, {"top": 7}),
    ({"rate": 2}, {"rate": 2.0}),
    ({"rate": "1e-3"}, {"rate": 1e-3}),
    ({"whole": "true"}, {"whole": True}),
    ({"layers": "3, 4"}, {"layers": (3, 4)}),
    ({"layers": [3]}, {"layers": (3,)}),
    ({"names": "a, b"}, {"names": ("a", "b")}),
    ({"most": ""}, {"most": None}),
    ({"most": "3"}, {"most": 3}),
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"score": "entropie"}, r"score is 'entropie': choose one of .* \(did you mean 'entropy'\?\)"),
    ({"top": 0}, "top is 0: give 1 to 100"),
    ({"top": 101}, "top is 101: give 1 to 100"),
    ({"top": 1.5}, "top is 1.5: give a whole number"),
    ({"top": True}, "top is True: give a whole number"),
    ({"top": "many"}, "top is 'many': give a whole number"),
    ({"rate": -1.0}, "rate is -1.0: give 0.0 or more"),
    ({"rate": float("nan")}, "rate is nan: give 0.0 or more"),
    ({"rate": "inf"}, "rate is inf: give 0.0 or more"),
    ({"whole": "perhaps"}, "whole is 'perhaps': give true or false"),
    ({"layers": "a"}, "layers is 'a': give whole numbers"),
    ({"layers": [1.5]}, "give whole numbers"),
    ({"most": 0}, "most is 0: give 1 or more"),
    ({"tops": 3}, "tops is not a setting: did you mean 'top'?"),
]


@pytest.mark.parametrize(("given", "expected"), GOOD)
def test_values_are_read_from_a_page_and_from_keywords(
    given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert Sample.read(given).changed() in (expected, {})
    assert all(getattr(Sample.read(given), name) == value for name, value in expected.items())
    assert read_form(Sample, given) == Sample.read(given)


@pytest.mark.parametrize(("given", "sentence"), BAD)
def test_what_is_not_allowed_is_refused_on_the_server(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        read_form(Sample, given)


def test_python_gets_the_same_error_as_the_page() -> None:
    with pytest.raises(SettingError, match="top is 0: give 1 to 100"):
        Sample(top=0)


def test_a_command_line_gives_the_same_settings() -> None:
    line = ["run", "--score=entropy", "--top=7", "--whole", "--layers=3,4", "--most=2"]
    settings, _ = flags.read(Sample, line)
    assert settings == Sample(score="entropy", top=7, whole=True, layers=(3, 4), most=2)
    for wrong, sentence in (
        (["--top=0"], "--top is 0: give 1 to 100"),
        (["--tpo=1"], "tpo"),
        (["extra"], "'extra' is not a flag"),
    ):
        with pytest.raises(flags.UsageError, match=sentence):
            flags.read(Sample, ["run", *wrong])
    with pytest.raises(flags.UsageError, match="--path is missing: Where from"):
        flags.read(Needed, ["run"])


def test_a_form_has_a_control_for_each_field_with_its_bounds() -> None:
    form = form_of(Sample)
    assert list(form) == [declared.name for declared in declarations(Sample)]
    assert form["score"].vocab == ["induction", "entropy"]
    assert (form["top"].min_val, form["top"].max_val, form["top"].default) == (1, 100, 20)
    assert form["whole"].default is False
    assert form_of(Needed)["path"].required


@pytest.mark.parametrize("name", catalog())
def test_every_analysis_takes_the_defaults_of_its_own_form(name: str) -> None:
    settings = catalog()[name].settings
    defaults = {field: control.default for field, control in form_of(settings).items()}
    assert read_form(settings, defaults) == settings()
    assert all(declared.text for declared in declarations(settings))
