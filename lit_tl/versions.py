"""Whether the libraries here are those that lit_tl was tested with."""

import importlib.metadata
from typing import Callable, Optional

from packaging.requirements import Requirement

_WATCHED = ("torch", "transformers", "transformer-lens", "lit-nlp")
"""Libraries whose releases have changed numbers without an error."""


def untested(installed: Callable[[str], str] = importlib.metadata.version) -> Optional[str]:
    """A sentence that names the libraries whose version was not tested; None where all were.

    What was tested is what the package's requirements admit.

    Args:
        installed: from the name of a library to its version.
    """
    try:
        lines = importlib.metadata.requires("lit_tl") or []
    except importlib.metadata.PackageNotFoundError:
        return None  # run from a folder that is not installed
    wanted = {line.name: line.specifier for line in map(Requirement, lines)}
    others = [
        f"{name} {installed(name)} (tested: {wanted[name]})"
        for name in _WATCHED
        if name in wanted and not wanted[name].contains(installed(name), prereleases=True)
    ]
    if not others:
        return None
    return (
        f"numbers may be wrong with {' and '.join(others)}: "
        "pip install -c constraints.txt lit_tl gives the tested versions"
    )
