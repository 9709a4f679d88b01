"""The command, as a user types it."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import Iterator

import pytest

from lit_tl import launch
from tests.live_server import end_by_ctrl_c

OFFLINE = {
    **os.environ,
    "HF_ENDPOINT": "http://127.0.0.1:9",
    "HF_HUB_OFFLINE": "0",
    "HF_HOME": "/nonexistent",
}


def command(*arguments: str, cwd: pathlib.Path, timeout: int = 240) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "lit_tl.launch", *arguments]
    return subprocess.run(
        line, capture_output=True, text=True, timeout=timeout, cwd=cwd, env=OFFLINE
    )


@contextlib.contextmanager
def started(*arguments: str, cwd: pathlib.Path) -> Iterator[subprocess.Popen]:
    """The command in a process that Ctrl-C ends, and that does not outlive the test."""
    line = [sys.executable, *arguments, "--port", "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        line, stdout=pipe, stderr=pipe, text=True, cwd=cwd, preexec_fn=end_by_ctrl_c
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_help_is_there_without_torch(tmp_path: pathlib.Path) -> None:
    finished = command("--help", cwd=tmp_path)
    assert finished.returncode == 0
    for word in (
        "--models",
        "--datasets",
        "--device",
        "--dtype",
        "--port",
        "--host",
        "--check",
        "--default_layout",
        "gpt2-small",
    ):
        assert word in finished.stdout
    code = (
        "import sys; sys.argv = ['x', '--help']; from lit_tl import launch; "
        "launch.main(sys.argv); print('torch' in sys.modules)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert finished.stdout.strip().endswith("False")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--modles", "x"], 2, "Unknown command line flag 'modles'"),
        (["gpt2-small"], 2, "'gpt2-small' is not a flag: models are given with --models"),
        (["--models", "a,,b"], 2, "--models has an empty entry"),
        (["--port", "many"], 2, "port"),
        (["--data_dir", "/tmp"], 2, "pickles"),
        (["--models", "gpt2-smal"], 1, "did you mean"),
        (["--models", "gpt2-small"], 1, "the Hugging Face Hub can't be reached"),
        (["--models", "./nothing"], 1, "does not exist"),
        (["--models", "lit-tl-tiny,lit-tl-tiny"], 1, "two models are called 'lit-tl-tiny'"),
        (["--datasets", "nothing.txt"], 1, "nothing.txt does not exist"),
        (["--datasets", "bad.jsonl"], 1, "bad.jsonl:2: not JSON"),
        (["--datasets", "ioii"], 1, "did you mean ioi"),
        (["--dtype", "int3"], 2, "--dtype=int3"),
        (["--device", "toaster"], 1, "toaster"),
        (["--host", "no.such.host.invalid"], 1, "is not an address of this machine"),
    ],
)
def test_mistakes_end_in_a_sentence(
    tmp_path: pathlib.Path,
    arguments: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"text"\n')
    monkeypatch.chdir(tmp_path)
    port = [] if "--port" in arguments else ["--port", "0"]
    with pytest.raises(SystemExit) as ended:
        launch.main(["launch", *arguments, *port])
    out, err = capfd.readouterr()
    assert ended.value.code == code, err
    lines = [line for line in err.splitlines() if not line.startswith("[")]
    assert message in "\n".join(lines)
    assert len(lines) <= 2, lines
    assert out == ""


def test_a_mistake_ends_the_real_command(tmp_path: pathlib.Path) -> None:
    finished = command("--models", "gpt2-small", "--port", "0", cwd=tmp_path)
    assert finished.returncode == 1
    assert "the Hugging Face Hub can't be reached" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert finished.stdout == ""


def test_a_taken_port_is_said_before_models_load(tmp_path: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finished = command("--port", str(port), cwd=tmp_path)
    assert finished.returncode == 1
    assert f"port {port} on 127.0.0.1 is taken: choose another with --port" in finished.stderr
    assert "loading model" not in finished.stderr


def test_check_says_what_would_be_served(
    tmp_path: pathlib.Path,
    checkpoint_folders: dict[str, pathlib.Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("one prompt\nanother\n")
    (tmp_path / "odd.jsonl").write_text(
        '{"text": "The king", "answer": " queen", "foil": " queen"}\n'
    )
    folders = ",".join(
        f"{family}={checkpoint_folders[family]}" for family in ("gpt2", "gpt_neox", "llama")
    )
    datasets = "ioi,mine.txt,odd.jsonl"
    launch.main(["launch", "--check", "--models", folders, "--datasets", datasets])
    out, err = capfd.readouterr()
    for family in ("gpt2", "gpt_neox", "llama"):
        assert f"model {family}: " in out
        line = f"odd: 1 of 1 examples do not fit {family}, 0 are left; example 1, 'The king': no "
        assert f"{line}token tells" in err
    assert "data set ioi: 100 prompts" in out
    assert "data set mine: 2 prompts" in out


def test_local_folders_are_served(
    tmp_path: pathlib.Path, checkpoint_folders: dict[str, pathlib.Path]
) -> None:
    families = ("gpt2", "gpt_neox", "llama")
    folders = ",".join(str(checkpoint_folders[family]) for family in families)
    with started("-m", "lit_tl.launch", "--models", folders, cwd=tmp_path) as process:
        url = process.stdout.readline().split()[3]
        with urllib.request.urlopen(url) as page:
            assert b"<lit-app>" in page.read()
        with urllib.request.urlopen(
            urllib.request.Request(url + "get_info", data=b"{}", method="POST")
        ) as info:
            models = json.load(info)["models"]
            assert [name for name in models if not name.startswith("_")] == [*families]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == ""
    assert "Traceback" not in err


@pytest.mark.parametrize("module", ["numpy", "torch", "transformers", "lit_tl.server.build"])
def test_ctrl_c_while_loading_leaves_quietly(tmp_path: pathlib.Path, module: str) -> None:
    with started("-X", "importtime", "-m", "lit_tl.launch", cwd=tmp_path) as process:
        for line in process.stderr:
            assert "loading model" not in line
            if line.split("|")[-1].strip() == module:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in err
    assert out == ""


def test_ctrl_c_as_soon_as_it_serves_ends_it(tmp_path: pathlib.Path) -> None:
    with started("-m", "lit_tl.launch", cwd=tmp_path) as process:
        assert process.stdout.readline().startswith("LIT is at")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in err


@pytest.mark.parametrize("flag", ["--lens=nosuch=none", "--prepend_bos=nosuch=true"])
def test_settings_for_a_model_that_there_is_not_are_refused(
    flag: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        launch.main(["launch", "--check", "--datasets", "ioi", flag])
    assert ended.value.code == 1
    assert "names 'nosuch', but the models are lit-tl-tiny" in capfd.readouterr().err
