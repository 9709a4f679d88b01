"""Directions: vectors from prompts, data sets, the unembedding, lenses and files."""

import pathlib

import numpy as np
import torch

from lit_tl.engine.sites import Site
from lit_tl.lens.lenses import lens_index
from lit_tl.variants.changes import Direction, Term
from lit_tl.variants.ground import Ground
from lit_tl.variants.over_data import Vector

_OF_THE_RESIDUAL = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "embed")
_READ_BY_LENSES = ("resid_pre", "resid_post")


def vector_of(direction: Direction, site: Site, ground: Ground) -> Vector:
    """A direction at a site of one layer, `[d]` float32, of length 1.

    Raises:
        ValueError: a vector of it does not fit the site, is not found, or the two of a difference
            are alike.
    """
    vector = _vector(direction.plus, site, ground).astype(np.float64)
    if direction.minus is not None:
        less = _vector(direction.minus, site, ground).astype(np.float64)
        if np.array_equal(vector, less):
            raise ValueError(f"{direction}: the two are alike at {site}, and make no direction")
        vector -= less
    largest = np.abs(vector).max()
    if not largest:
        raise ValueError(f"{direction}: a vector of zeros is no direction")
    vector /= largest  # so that no square overflows
    unit: Vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit


def _vector(term: Term, site: Site, ground: Ground) -> Vector:
    if ("head" in site.axes and site.head is None) or "key_pos" in site.axes:
        raise ValueError(f"{site}: a direction is one of a single head: name it, as in L9H6")
    if term.kind == "prompt":
        prompt = ground.prompter.from_text(term.name)
        return ground.means([prompt], [_at_the_end(site)])[_at_the_end(site)]
    if term.kind == "mean":
        return ground.means(ground.data_set(term.name), [_at_the_end(site)])[_at_the_end(site)]
    if term.kind == "file":
        return _checked(_read(term, ground.file(term.name)), term, site, ground)
    row = ground.runner.readout.matrix()[_token(term, ground)].float().cpu()
    if term.kind == "unembed":
        if site.component not in _OF_THE_RESIDUAL:
            raise ValueError(
                f"{term}: the unembedding reads the residual: give resid_post, or another of "
                f"{', '.join(_OF_THE_RESIDUAL)}, and not {site}"
            )
        return _checked(row.numpy(), term, site, ground)
    return _through_lens(row, term, site, ground)


def _at_the_end(site: Site) -> Site:
    return Site(site.component, site.layer, site.head, site.neuron, positions=-1)


def _token(term: Term, ground: Ground) -> int:
    ids = ground.prompter.answer(term.name)
    if len(ids) != 1:
        pieces = ground.prompter.vocabulary.strings(ids)
        raise ValueError(
            f"{term}: {term.name!r} is {len(ids)} tokens of this model, {pieces}: give one of them"
        )
    return ids[0]


def _through_lens(row: torch.Tensor, term: Term, site: Site, ground: Ground) -> Vector:
    """The direction that raises a token's logit most, as the lens reads the residual: the gradient
    of the product with its row of the unembedding, the final norm left out."""
    if site.component not in _READ_BY_LENSES or site.layer is None:
        raise ValueError(
            f"{term}: a lens reads {' and '.join(_READ_BY_LENSES)}, and not {site}: write "
            f"resid_post[{site.layer if site.layer is not None else 0}]"
        )
    choice = ground.lenses()
    lens = choice.lenses[choice.best]
    hidden = torch.zeros(1, len(row), requires_grad=True)
    with torch.enable_grad():
        read = lens.transform_hidden(hidden, lens_index(site.component, site.layer))
        (read.float() @ row.to(read.device)).sum().backward()
    assert hidden.grad is not None
    vector: Vector = hidden.grad[0].numpy()
    return vector


def _read(term: Term, path: pathlib.Path) -> Vector:
    """The vector of a file.

    Raises:
        ValueError: there is none in it.
    """
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".safetensors":
            return _of_safetensors(term, path)
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, _NoVector):
            raise
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ValueError(f"{term} can't be read: {why}") from error
    raise ValueError(f"{term}: give a vector as .npy or .safetensors")


class _NoVector(ValueError):
    """A file can be read, and has no such vector."""


def _of_safetensors(term: Term, path: pathlib.Path) -> Vector:
    import safetensors

    try:
        with safetensors.safe_open(path, framework="pt") as file:
            keys = list(file.keys())
            key = term.key or (keys[0] if len(keys) == 1 else "")
            if key not in keys:
                raise _NoVector(
                    f"{term}: the file holds {', '.join(keys[:10])}: name one, as in "
                    f'file("{term.name}", "{keys[0] if keys else "vector"}")'
                )
            vector: Vector = file.get_tensor(key).double().numpy()
            return vector
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error


def _checked(vector: Vector, term: Term, site: Site, ground: Ground) -> Vector:
    """A vector as long as the site's."""
    length = ground.runner.shape.d_model
    if site.component not in _OF_THE_RESIDUAL:
        length = ground.width(site)
    if vector.shape != (length,):
        raise ValueError(
            f"{term} has the shape {list(vector.shape)}, and {site} of {ground.runner.shape.name} "
            f"takes a vector of {length} numbers"
        )
    if vector.dtype.kind not in "fiu" or not np.isfinite(vector).all():
        raise ValueError(f"{term} holds numbers that are not real and finite")
    return vector
