"""Uploads, against a server on this machine that speaks the Hub's protocol."""

import base64
import dataclasses
import http.server
import json
import pathlib
import shlex
import shutil
import subprocess
import sys
import threading
from typing import Callable, Iterator, NamedTuple

import pytest
import torch

from lit_tl import flags
from lit_tl.lens import __main__ as command_line
from lit_tl.lens.choice import BUNDLED_LENSES
from lit_tl.lens.training.config import TrainConfig

TRAINED = TrainConfig(
    model="lit-tl-tiny",
    data="/home/me/text.jsonl",
    output="/home/me/lens",
    wandb="secret",
    device="cpu",
    seed=0,
    weight_decay=0.0,
    warmup_steps=0,
    bias_only=True,
    num_steps=20,
)


class Hub(http.server.BaseHTTPRequestHandler):
    """Keeps what is committed."""

    repositories: dict[str, dict[str, bytes]]
    token = "Bearer hf_right"

    def answer(self, code: int, record: object = None) -> None:
        body = json.dumps(record or {}).encode()
        self.send_response(code)
        if code == 404:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        parts = self.path.strip("/").split("/")
        self.answer(
            200 if "/".join(parts[4:]) in self.repositories.get("/".join(parts[:2]), {}) else 404
        )

    def do_GET(self) -> None:
        self.answer(200, {"id": "x", "sha": "0" * 40})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != self.token:
            return self.answer(401, {"error": "Invalid credentials"})
        if self.path == "/api/repos/create":
            record = json.loads(body)
            self.repositories.setdefault(f"{record.get('organization', 'me')}/{record['name']}", {})
            return self.answer(200, {"url": f"http://{self.headers['Host']}/me/{record['name']}"})
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"warnings": [], "errors": []})
        name = "/".join(self.path.split("/")[3:5])
        if "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        assert "/commit/" in self.path
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.repositories[name][line["value"]["path"]] = base64.b64decode(
                    line["value"]["content"]
                )
        return self.answer(
            200,
            {
                "success": True,
                "commitUrl": f"http://{self.headers['Host']}/{name}/commit/1",
                "commitOid": "1" * 40,
            },
        )

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, dict[str, dict[str, bytes]]]]:
    handler = type("ThisHub", (Hub,), {"repositories": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler.repositories
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    shutil.copytree(BUNDLED_LENSES["lit-tl-tiny"], tmp_path / "lens")
    run = {
        "settings": dataclasses.asdict(TRAINED),
        "versions": {"lit_tl": "0.1.0"},
        "data": {"file": "text.jsonl"},
        "model": {"name": "lit-tl-tiny", "weights": "0a"},
        "first_skipped": "/home/me/text.jsonl:3: not JSON",
        "losses": [[2.0, 1.0]] * 18 + [[1.0, 0.5], [0.5, 0.25]],
        "tokens": 12345,
        "seconds": 9.0,
        "processes": 2,
        "device": "cpu",
    }
    (tmp_path / "lens" / "train.json").write_text(json.dumps(run))
    return tmp_path / "lens"


class Finished(NamedTuple):
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


def words_of(folder: object, *words: str) -> list[str]:
    return ["push", f"--lens={folder}", "--repo_id=me/lenses", *words]


@pytest.fixture
def push(capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """The command in this process, which has no network."""

    def run(folder: object, *words: str) -> Finished:
        code = 0
        try:
            command_line.main(["lens", *words_of(folder, *words)])
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Finished(code, *capsys.readouterr())

    return run


def push_to(
    folder: object, endpoint: str, *words: str, token: str = "hf_right"
) -> subprocess.CompletedProcess:
    """The command in a process of its own, with another Hub."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HF_ENDPOINT": endpoint,
        "HF_TOKEN": token,
        "HOME": "/nonexistent",
    }
    line = [sys.executable, "-m", "lit_tl.lens", *words_of(folder, *words)]
    return subprocess.run(
        line, capture_output=True, text=True, timeout=120, env=environment, check=False
    )


def test_a_lens_arrives_with_a_card(
    hub: tuple[str, dict[str, dict[str, bytes]]],
    folder: pathlib.Path,
) -> None:
    endpoint, repositories = hub
    finished = push_to(folder, endpoint)
    assert finished.returncode == 0, finished.stderr
    assert f"uploaded: {endpoint}/me/lenses/commit/1" in finished.stdout
    files = repositories["me/lenses"]
    below = "lens/lit-tl-tiny"
    assert set(files) == {
        "README.md",
        *(f"{below}/{name}" for name in ("config.json", "params.pt", "train.json", "README.md")),
    }
    assert files[f"{below}/params.pt"] == (folder / "params.pt").read_bytes()
    assert json.loads(files[f"{below}/config.json"]) == json.loads(
        (folder / "config.json").read_text()
    )
    record = json.loads(files[f"{below}/train.json"])
    assert record["settings"]["seed"] == 0
    assert record["losses"] == [[2.0, 1.0]] * 18 + [[1.0, 0.5], [0.5, 0.25]]
    card = files[f"{below}/README.md"].decode()
    assert "base_model: lit-tl-tiny" in card
    assert 'repo_id="me/lenses", repo_type="model"' in card
    assert "12,345 tokens of text.jsonl" in card
    assert "| 0 | 0.7500 |" in card
    assert all(
        b"/home/me" not in content and b"secret" not in content for content in files.values()
    )
    (line,) = (line for line in card.splitlines() if "lit_tl.lens train" in line)
    again = flags.read(TrainConfig, shlex.split(line)[3:])[0]
    assert again == dataclasses.replace(
        TRAINED, data="text.jsonl", output="lens", wandb=None, device=None
    )
    files["README.md"] = b"mine"
    assert push_to(folder, endpoint, "--name=other").returncode == 0
    assert files["README.md"] == b"mine"
    assert "lens/other/params.pt" in files


def test_what_can_not_be_uploaded_is_said(
    hub: tuple[str, dict[str, dict[str, bytes]]],
    folder: pathlib.Path,
    push: Callable[..., Finished],
) -> None:
    endpoint, repositories = hub
    for finished, sentence in (
        (
            push_to(folder, endpoint, token="hf_wrong"),
            "no access to write to model me/lenses: `hf auth login`",
        ),
        (
            push_to(folder, "http://127.0.0.1:9"),
            "the Hugging Face Hub can't be reached; nothing was uploaded",
        ),
        (push(folder / "none"), "is no folder: give the --output of training"),
        (push(folder.parent), "there is no config.json in it"),
        (push(folder, "--name=../up", "--dry_run"), "--name ../up: give names of letters, digits"),
        (push(folder, "--repo_id=no slash", "--dry_run"), "--repo_id no slash: "),
    ):
        assert finished.returncode == 1, finished.stdout
        assert sentence in finished.stderr
        assert "Traceback" not in finished.stderr
    assert repositories == {}
    for name, content, sentence in (
        ("train.json", '{"settings": {}}', "is not what training leaves, since it has no 'data'"),
        ("train.json", "xx", "train.json is no JSON, and not what training leaves"),
        ("config.json", "{}", "the lens's config has no base_model_name_or_path"),
    ):
        before = (folder / name).read_text()
        (folder / name).write_text(content)
        finished = push(folder, "--dry_run")
        assert finished.returncode == 1, finished.stdout
        assert sentence in finished.stderr
        assert "Traceback" not in finished.stderr
        (folder / name).write_text(before)
    dry = push(folder, "--dry_run")
    assert dry.returncode == 0, dry.stderr
    assert "would upload to model me/lenses:" in dry.stdout
    assert "lens/lit-tl-tiny/params.pt  267,085 bytes" in dry.stdout


def test_a_model_that_is_a_folder_here_needs_a_name_for_others(
    folder: pathlib.Path, push: Callable[..., Finished]
) -> None:
    config = json.loads((folder / "config.json").read_text()) | {
        "base_model_name_or_path": "/home/me/model"
    }
    (folder / "config.json").write_text(json.dumps(config))
    finished = push(folder, "--dry_run")
    assert finished.returncode == 1
    assert (
        "the lens is of /home/me/model, a folder on this machine: say with --name"
        in finished.stderr
    )
    finished = push(folder, "--name=me/model", "--dry_run")
    assert finished.returncode == 0, finished.stderr
    assert "base_model: me/model" in finished.stdout
    assert "/home/me" not in finished.stdout


def test_a_lens_that_has_diverged_is_not_uploaded(
    folder: pathlib.Path, push: Callable[..., Finished]
) -> None:
    tensors = torch.load(folder / "params.pt", weights_only=True)
    tensors["0.bias"][0] = float("nan")
    torch.save(tensors, folder / "params.pt")
    finished = push(folder, "--dry_run")
    assert finished.returncode == 1
    assert "0.bias holds numbers that are not finite" in finished.stderr
