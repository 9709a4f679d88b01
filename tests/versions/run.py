"""The suite on the oldest and the newest versions that the requirements admit, and on each Python.

    python tests/versions/run.py                  every environment for which there is a Python
    python tests/versions/run.py newest-3.11      one of them
    python tests/versions/run.py --list           their names

Each has an environment of its own under `.venv-versions/`, of 1 to 5 GB. What ran is printed last.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).parent.parent.parent
ENVIRONMENTS = ROOT / ".venv-versions"
PYTHONS = ("3.10", "3.11", "3.12")
WATCHED = ("lit-nlp", "transformer-lens", "transformers", "torch")


def admitted() -> tuple[list[str], list[str]]:
    """The oldest versions as pins, and the Pythons that are admitted."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [r for r in project["dependencies"] if r.startswith(WATCHED)]
    oldest = [r.split(",")[0].replace(">=", "==").strip() for r in requirements]
    low, high = (part.lstrip("><=") for part in project["requires-python"].split(","))
    of = lambda version: tuple(map(int, version.split(".")))  # noqa: E731
    return oldest, [python for python in PYTHONS if of(low) <= of(python) < of(high)]


def environments() -> dict[str, tuple[str, list[str]]]:
    """By name, the Python and what is pinned."""
    oldest, pythons = admitted()
    named = {f"newest-{python}": (python, list[str]()) for python in pythons}
    return {f"oldest-{pythons[0]}": (pythons[0], oldest), **named}


def run(name: str, python: str, pins: list[str]) -> str:
    """Make an environment if it is not there, and run the suite in it: the last line to print."""
    command = shutil.which(f"python{python}")
    works = command and not subprocess.run([command, "-c", ""], capture_output=True).returncode
    if not works:
        return f"{name}: not run, there is no python{python} here"
    folder = ENVIRONMENTS / name
    own = str(folder / "bin" / "python")
    if not (folder / "ready").exists():
        subprocess.run([str(command), "-m", "venv", str(folder)], check=True)
        install = [own, "-m", "pip", "install", "--quiet", *pins, "--editable", f"{ROOT}[test]"]
        if subprocess.run(install).returncode:
            return f"{name}: not run, the packages can't be installed"
        (folder / "ready").touch()
    show = "import importlib.metadata as m; print(*(f'{n} {m.version(n)}' for n in %r), sep=', ')"
    versions = subprocess.run([own, "-c", show % (WATCHED,)], capture_output=True, text=True).stdout
    suite = [own, "-m", "pytest", "-q", "--dist", "loadscope", "--numprocesses", "3"]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(suite, cwd=ROOT, env=one_thread, stdout=subprocess.PIPE, text=True)
    print(finished.stdout, flush=True)
    summary = finished.stdout.strip().splitlines()[-1].strip("= ")
    return f"{name}: Python {python}, {versions.strip()}: {summary}"


def main(words: list[str]) -> int:
    """The command; 1 if a suite failed."""
    known = environments()
    if words == ["--list"]:
        print(*known, sep="\n")
        return 0
    unknown = [word for word in words if word not in known]
    if unknown:
        print(f"there is no environment {unknown[0]}: choose from {', '.join(known)}")
        return 2
    lines = [run(name, *known[name]) for name in words or known]
    print(*lines, sep="\n")
    return int(any(" failed" in line or " error" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
