"""Proof that the wrapper takes a `HookedTransformer` of TransformerLens 3: one command, in an
environment of its own.

python tests/transformer_lens_3/run.py
"""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent.parent
ENVIRONMENT = ROOT / ".venv-transformer-lens-3"
PACKAGES = [
    "transformer-lens>=3,<4",
    "lit-nlp>=1.3.1,<1.4",
    "torch==2.13.0",
    "numpy<2",
    "pyarrow<26",
    "umap-learn>=0.5.9",
    "orjson",
    "plotly",
    "xarray",
    "cachetools",
    "beartype",
    "pytest",
]


def main() -> int:
    """Make the environment if it is not there, and run the test in it."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (ENVIRONMENT / "ready").touch()
    check = str(pathlib.Path(__file__).parent / "check.py")
    return subprocess.run(
        [str(python), "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(ROOT), check],
        cwd=ROOT,
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
