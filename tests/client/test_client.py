"""The browser plug-in's pure parts, under Node's own test runner."""

import pathlib
import shutil
import subprocess

from playwright._impl._driver import compute_driver_executable

HERE = pathlib.Path(__file__).parent


def node() -> str:
    """Node from the machine, or else the one that Playwright brings along."""
    return shutil.which("node") or str(compute_driver_executable()[0])


def test_the_pure_parts_of_the_client() -> None:
    done = subprocess.run(
        [node(), "--test", "--test-reporter=tap", *map(str, HERE.glob("*.test.mjs"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# fail 0" in done.stdout
    assert "# pass 0" not in done.stdout
