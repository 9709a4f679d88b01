"""TransformerLens' Jacobian lens behind the interface of the others."""

import os
import pickle
from typing import TYPE_CHECKING, Any, Optional, Union

from lit_tl.lens.artifacts import DAMAGED, LensError, first_line
from lit_tl.lens.lenses import Hidden, Lens
from lit_tl.lens.unembed import Unembed

if TYPE_CHECKING:
    from transformer_lens.tools import analysis


class JacobianLens(Lens):
    """A lens whose map at each layer is the mean Jacobian of the final residual with respect to
    that layer's.

    Args:
        unembed: of the model.
        fitted: TransformerLens' `JacobianLens`, whose matrix `l` reads the output of block `l`.

    Raises:
        LensError: its width or depth is not the model's.
    """

    def __init__(self, unembed: Unembed, fitted: "analysis.JacobianLens"):
        super().__init__(unembed)
        if fitted.d_model != unembed.readout.d_model:
            raise LensError(
                f"a Jacobian lens of d_model {fitted.d_model} does not fit "
                f"{unembed.readout.name}: it has {unembed.readout.d_model}"
            )
        if fitted.source_layers[-1] >= unembed.readout.n_layers:
            raise LensError(
                f"a Jacobian lens of layer {fitted.source_layers[-1]} does not fit "
                f"{unembed.readout.name}: it has {unembed.readout.n_layers} layers"
            )
        self.fitted = fitted

    @classmethod
    def from_model_and_pretrained(
        cls,
        model: Any,
        lens_resource_id: Optional[Union[str, os.PathLike[str]]] = None,
        **kwargs: Any,
    ) -> "JacobianLens":
        """A fitted lens: a `.pt` file of TransformerLens or the reference implementation, or a
        published one.

        Raises:
            LensError: there is none, or it can't be read.
        """
        from transformer_lens.tools import analysis

        unembed = Unembed(model)
        name = os.fspath(lens_resource_id or unembed.readout.name)
        try:
            if name.endswith(".pt"):
                fitted = analysis.JacobianLens.load(name)
            else:
                fitted = analysis.JacobianLens.from_pretrained(name, **kwargs)
        except pickle.UnpicklingError as error:
            raise LensError(
                f"{name} holds more than tensors, or is damaged, and was not loaded"
            ) from error
        except DAMAGED as error:
            raise LensError(
                f"the Jacobian lens {name} can't be loaded: {first_line(error)}"
            ) from error
        return cls(unembed, fitted)

    def transform_hidden(self, h: Hidden, idx: int) -> Hidden:
        """`J h`. The embeddings (`idx` 0), and layers that the lens was not fitted to, are taken as
        they are."""
        fits = idx < self.unembed.readout.n_layers and idx - 1 in self.fitted.jacobians
        return self.fitted.transport(h, idx - 1) if fits else h
