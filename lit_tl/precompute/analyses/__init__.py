"""Analyses of many prompts, one file each."""
