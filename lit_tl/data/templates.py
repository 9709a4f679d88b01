"""Chat templates in files."""

from typing import Optional

from lit_tl.data.lines import whole_text


def read_template(path: str) -> Optional[str]:
    """A chat template.

    Args:
        path: a file in Jinja; "auto" for the tokenizer's own.

    Returns:
        The template, or None for the tokenizer's own.

    Raises:
        DataError: the file can't be read.
    """
    return None if path == "auto" else whole_text(path)
