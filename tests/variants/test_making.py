"""Directions and what can't be made."""

import pathlib
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from lit_tl import HookedTransformerLIT
from lit_tl.data.tasks import read_task
from lit_tl.engine.sites import Site
from lit_tl.lens.lenses import lens_index
from lit_tl.variants.directions import vector_of
from lit_tl.variants.text import parse_change
from tests.variants.test_variants import value_at


def test_directions_are_what_they_say(
    bundled: HookedTransformerLIT, tmp_path: pathlib.Path
) -> None:
    ground = bundled.loaded.ground()
    site = Site("resid_post", 1)

    def direction(text: str) -> np.ndarray:
        change = parse_change(f"resid_post[1] += {text}")
        return vector_of(change.action.direction, site, ground)  # type: ignore[attr-defined]

    def end(text: str) -> np.ndarray:
        return value_at(bundled, "resid_post[1]@-1", text).numpy()

    def unit(vector: np.ndarray) -> np.ndarray:
        return vector / np.linalg.norm(vector)

    difference = direction('dir("love" - "hate")')
    np.testing.assert_allclose(difference, unit(end("love") - end("hate")), atol=1e-5)
    examples = read_task("agreement").examples
    mean = np.mean([end(str(example["text"])) for example in examples], axis=0)
    np.testing.assert_allclose(direction("dir(mean(agreement))"), unit(mean), atol=1e-4)
    token = bundled.loaded.prompter.answer(" Mary")[0]
    row = bundled.loaded.runner.readout.weight[token].numpy()
    np.testing.assert_allclose(direction('dir(unembed(" Mary"))'), unit(row), atol=1e-6)
    lens: Any = bundled.loaded.lenses.lenses["tuned"]
    weight = lens.layer_translators[lens_index("resid_post", 1)].weight.detach().numpy()
    pulled = row + weight.T @ row  # the lens reads h + W h + b
    np.testing.assert_allclose(direction('dir(lens(" Mary"))'), unit(pulled), atol=1e-5)
    vector = np.arange(128, dtype=np.float32)
    for size in (1e30, 1e-30, 1e200):
        np.save(tmp_path / "odd.npy", vector.astype(np.float64) * size)
        odd = direction(f'dir(file("{tmp_path}/odd.npy"))')
        np.testing.assert_allclose(odd, unit(vector), atol=1e-6)
    np.save(tmp_path / "v.npy", vector)
    safetensors.numpy.save_file({"a": vector, "b": vector[:3]}, tmp_path / "v.safetensors")
    for name in (f'"{tmp_path}/v.npy"', f'"{tmp_path}/v.safetensors", "a"'):
        np.testing.assert_allclose(direction(f"dir(file({name}))"), unit(vector), atol=1e-6)
    np.save(tmp_path / "complex.npy", vector + 1j)
    for name, message in (
        (f'"{tmp_path}/v.safetensors"', r"the file holds a, b: name one, as in file\("),
        (f'"{tmp_path}/v.safetensors", "b"', r"has the shape \[3\], and resid_post\[1\] of"),
        (f'"{tmp_path}/none.npy"', "can't be read: No such file"),
        (f'"{tmp_path}/complex.npy"', "numbers that are not real and finite"),
        (f'"{tmp_path}"', "give a vector as .npy or .safetensors"),
    ):
        with pytest.raises(ValueError, match=message):
            direction(f"dir(file({name}))")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("L9H0 = zero", "layer 9 is out of range: .* has layers 0 to 3"),
        ("L0H9 = zero", "head 9 is out of range: .* has heads 0 to 3"),
        ("mlp_post[1].n9999 = zero", "neuron 9999 is out of range: .* has neurons 0 to"),
        ("router[0] = zero", "has no router: choose from embed, resid_pre, "),
        ("L1H3@400: = mean(ioi)", r"no prompt of the data set has a token at L1H3@400:"),
        ("L1H3@400 = mean(ioi)", r"no prompt of the data set has a token at L1H3@400"),
        ("L1H3@400: = resample(ioi)", "no prompt of the data set has a token at"),
        ("L1H3 = resample(ioi, 99999999999999999999)", "the seed of resample is"),
        ('L1N3 += 5 * dir("a" - "b")', "holds no vector at a position, and takes no direction"),
        ('pattern[1].h2 without dir("a" - "b")', "is one of a single head"),
        ("L1H1 = mean(iio)", "unknown data set 'iio': did you mean ioi"),
        ("pattern[1].h1 = mean(ioi)", "as many numbers as the prompt has tokens, and no mean"),
        ('resid_post[1] += dir("a" - "a")', "the two are alike"),
        ('L1H1 += dir(unembed(" Mary"))', "the unembedding reads the residual"),
        ('mlp_out[1] += dir(lens(" Mary"))', "a lens reads resid_pre and resid_post"),
        ('resid_post[1] += dir(unembed(" Mary John"))', "is 2 tokens of this model"),
        ('z[1] += dir("a" - "b")', "is one of a single head: name it"),
        ("L1H1", "is not a change"),
    ],
)
def test_what_a_model_does_not_have_is_refused_in_a_sentence(
    bundled: HookedTransformerLIT, change: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        bundled.with_interventions(change)
    assert "\n" not in str(refused.value)
    with pytest.raises(TypeError, match="a change is a text such as"):
        bundled.with_interventions(3)  # type: ignore[arg-type]
