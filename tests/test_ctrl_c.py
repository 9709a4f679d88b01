"""Ctrl-C, where Python's own handler loses it: its KeyboardInterrupt can't leave a destructor."""

import signal
import subprocess
import sys

import pytest

from tests.live_server import end_by_ctrl_c

_PRESSED_IN_A_DESTRUCTOR = """
import signal, sys
from lit_tl import ctrl_c

class Passing:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        for _ in range(10):
            pass

{before}
Passing()
print("went on", flush=True)
"""


def pressed(before: str) -> subprocess.CompletedProcess:
    code = _PRESSED_IN_A_DESTRUCTOR.format(before=before)
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=end_by_ctrl_c,
    )


def test_it_ends_the_command_from_within_a_destructor() -> None:
    assert pressed("signal.signal(signal.SIGINT, signal.default_int_handler)").stdout == "went on\n"
    handled = "signal.signal(signal.SIGINT, signal.default_int_handler); ctrl_c.ends_the_command()"
    finished = pressed(handled)
    assert (finished.returncode, finished.stdout, finished.stderr) == (-signal.SIGINT, "", "")


def test_a_command_that_ignores_it_goes_on_ignoring_it() -> None:
    finished = pressed("signal.signal(signal.SIGINT, signal.SIG_IGN); ctrl_c.ends_the_command()")
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "went on\n", "")


@pytest.mark.parametrize("before", ["signal.default_int_handler", "signal.SIG_IGN"])
def test_work_that_ends_in_order_gets_the_exception_and_nothing_else_changes(before: str) -> None:
    code = f"""
import signal
from lit_tl import ctrl_c
signal.signal(signal.SIGINT, {before})
ctrl_c.ends_the_command()
try:
    with ctrl_c.raises_inside():
        signal.raise_signal(signal.SIGINT)
        print("ignored")
except KeyboardInterrupt:
    print("raised")
print(signal.getsignal(signal.SIGINT).name)
"""
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    expected = "ignored\nSIG_IGN\n" if before == "signal.SIG_IGN" else "raised\nSIG_DFL\n"
    assert finished.stdout == expected
