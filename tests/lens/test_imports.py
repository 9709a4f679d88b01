"""What training a lens does without."""

import subprocess
import sys

LOADED = """
import sys
import lit_tl.lens
import lit_tl.lens.training.trainer
print(*({"transformer_lens", "lit_nlp", "datasets", "pandas"} & {*sys.modules}))
"""


def test_training_loads_neither_transformer_lens_nor_what_comes_with_it() -> None:
    told = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == []
