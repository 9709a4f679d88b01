"""A store: numbers of models over many prompts, in a folder of Parquet files.

    STORE/manifest.json                  what was made, of which weights, settings and data
    STORE/data/000000.parquet            prompts, some hundred rows in each file
    STORE/parts/MODEL.ANALYSIS/000000.parquet   what an analysis found in them, row by row
    STORE/summaries/MODEL.ANALYSIS.parquet      what it says of all rows, where it says something

Whatever reads Parquet reads a store; `Store` knows its axes beside. Knows no model.
"""

from lit_tl.store.columns import Column, Described
from lit_tl.store.files import StoreError
from lit_tl.store.manifest import Manifest, Part
from lit_tl.store.store import Store

__all__ = ["Column", "Described", "Manifest", "Part", "Store", "StoreError"]
