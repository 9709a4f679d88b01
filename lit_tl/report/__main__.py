"""Reports from the command line: `python -m lit_tl.report SESSION -o FILE`."""

import argparse
import pathlib
import sys
from typing import Optional, Sequence

from lit_tl import ctrl_c

_KINDS = (".html", ".ipynb")


def main(argv: Optional[Sequence[str]] = None) -> int:
    """The command.

    Args:
        argv: behind the command's name.

    Returns:
        0; 1 for what can't be read or written, 2 for a command line that can't be understood.
    """
    parser = argparse.ArgumentParser(
        prog="python -m lit_tl.report",
        description="Make a report, or a notebook, of a session, without a browser.",
        allow_abbrev=False,
    )
    parser.add_argument("session", help="a session that was saved on the page or in Python")
    parser.add_argument(
        "-o", "--output", required=True, help="the file to write: it ends in .html or .ipynb"
    )
    options = parser.parse_args(argv)
    output = pathlib.Path(options.output).expanduser()
    if output.suffix not in _KINDS:
        parser.error(f"--output is {options.output!r}: give a name that ends in .html or .ipynb")
    try:
        _write(options.session, output)
    except (ValueError, OSError) as error:
        print(f"lit_tl.report: {error}", file=sys.stderr)
        return 1
    return 0


def _write(path: str, output: pathlib.Path) -> None:
    from lit_tl.report.notebook import notebook
    from lit_tl.report.page import report
    from lit_tl.session.session import Session, SessionError
    from lit_tl.whole_files import replace

    session = Session.load(path)
    text = report(session) if output.suffix == ".html" else notebook(session)
    try:
        replace(output, lambda to: to.write(text.encode()))
    except OSError as error:
        raise SessionError(f"--output {output} can't be written: {error.strerror}") from error
    print(f"{output}: {len(session.figures)} figures, {len(text.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    ctrl_c.ends_the_command()
    sys.exit(main())
