"""Analyses of many prompts, on one machine or many, into a store: `python -m lit_tl.precompute`."""
