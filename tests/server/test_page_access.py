"""What the page's dialogs may load: attacks on a real server process."""

import json
import os
import pathlib
import shutil
from typing import Any

import pytest

from lit_tl.models.errors import BUNDLED_MODELS
from lit_tl.server.page_access import NotAllowed, PageAccess
from tests.live_server import LitServer
from tests.server.raw_requests import Reply, ask, refused

NOT_BELOW = "is not below a folder that this page may read"
BY_HUB = "would be fetched from the Hugging Face Hub"


def load_data(server: LitServer, kind: str, **config: Any) -> Reply:
    body = json.dumps({"config": {"new_name": "new", **config}}).encode()
    return ask(server.port, f"/create_dataset?dataset_name={kind.replace(' ', '%20')}", body=body)


def load_model(server: LitServer, **config: Any) -> Reply:
    body = json.dumps({"config": {"new_name": "new", **config}}).encode()
    return ask(server.port, "/create_model?model_name=TransformerLens", body=body)


def said(reply: Reply) -> str:
    refused(reply, 400)
    return str(json.loads(reply.body)["error"])


SECRETS = [
    "/etc/passwd",
    "/proc/self/environ",
    "~/.bashrc",
    "../../../../../../../../etc/passwd",
    "{folder}/../../../../../etc/passwd",
    "{folder}/link",
    "{folder}/linked/passwd",
    "/dev/zero",
    "/nonexistent/x.csv",
    "x\x00y",
    "a" * 5000,
    "",
]


@pytest.mark.parametrize("path", SECRETS)
@pytest.mark.parametrize("kind", ["text lines", "CSV or TSV", "JSON lines", "JSON"])
def test_files_elsewhere_are_not_read(server: LitServer, kind: str, path: str) -> None:
    folder = pathlib.Path(server.folder)
    for name, target in (("link", "/etc/passwd"), ("linked", "/etc")):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(target)
    reply = load_data(server, kind, path=path.format(folder=folder))
    sentence = said(reply)
    assert "root:" not in sentence
    if path.startswith(("/", "~", "..", "{")):
        assert NOT_BELOW in sentence
        assert "--allow_path" in sentence


def test_files_below_the_servers_folder_are_read(server: LitServer) -> None:
    folder = pathlib.Path(server.folder)
    (folder / "below").mkdir(exist_ok=True)
    (folder / "below" / "mine.txt").write_text("one prompt\nanother\n")
    for path in (f"{folder}/below/mine.txt", "below/mine.txt", "./below/../below/mine.txt"):
        reply = load_data(server, "text lines", path=path, new_name=f"new{len(path)}")
        assert reply.status == 200, reply.body


def test_models_and_lenses_elsewhere_are_not_loaded(
    server: LitServer, tmp_path: pathlib.Path
) -> None:
    elsewhere = tmp_path / "model"
    shutil.copytree(BUNDLED_MODELS["lit-tl-tiny"], elsewhere)
    here = pathlib.Path(server.folder)
    for name in (str(elsewhere), f"{here}/../{elsewhere}", f"x={elsewhere}", "/etc", "~"):
        assert NOT_BELOW in said(load_model(server, model_name=name)), name
    for name in ("gpt2-small", "owner/name", "hf-internal/x@main"):
        assert BY_HUB in said(load_model(server, model_name=name)), name
    for lens in ("/etc", f"{elsewhere}/lens.pt", f"none+{elsewhere}"):
        assert NOT_BELOW in said(load_model(server, model_name="lit-tl-tiny", lens=lens)), lens
    for lens in ("gpt2", "jacobian:gpt2"):
        assert BY_HUB in said(load_model(server, model_name="lit-tl-tiny", lens=lens)), lens
    assert BY_HUB in said(load_data(server, "Hub", source="owner/name[train,text]"))


def test_a_model_whose_files_lead_out_is_not_loaded(
    server: LitServer, tmp_path: pathlib.Path
) -> None:
    here, outside = pathlib.Path(server.folder), tmp_path / "outside"
    shutil.copytree(BUNDLED_MODELS["lit-tl-tiny"], outside)
    shutil.copytree(outside, here / "linked_weights")
    weights = next((here / "linked_weights").glob("*.safetensors"))
    weights.unlink()
    weights.symlink_to(outside / weights.name)
    assert NOT_BELOW in said(load_model(server, model_name=str(here / "linked_weights")))
    (here / "adapter").mkdir()
    settings = {"base_model_name_or_path": str(outside), "peft_type": "LORA"}
    (here / "adapter" / "adapter_config.json").write_text(json.dumps(settings))
    assert NOT_BELOW in said(load_model(server, model_name=str(here / "adapter")))
    shutil.copytree(outside, here / "own")
    reply = load_model(server, model_name=str(here / "own"), new_name="own")
    assert reply.status == 200, reply.body


def test_nothing_is_allowed_where_other_machines_reach_the_server(tmp_path: pathlib.Path) -> None:
    access = PageAccess.of(None, hub=False, loopback=False)
    with pytest.raises(NotAllowed, match=r"may read \(none\)"):
        access.file(str(tmp_path))
    assert access.model("lit-tl-tiny") == "lit-tl-tiny"
    assert PageAccess.of(None, hub=False, loopback=True).folders == (
        pathlib.Path(os.getcwd()).resolve(),
    )
    with pytest.raises(ValueError, match="nowhere is no folder"):
        PageAccess.of([f"{tmp_path}/nowhere"], hub=False, loopback=True)
    PageAccess.of([str(tmp_path)], hub=True, loopback=False).need_hub("gpt2")


def test_what_may_be_loaded_is_listed_and_nothing_else(tmp_path: pathlib.Path) -> None:
    inside, outside = tmp_path / "data", tmp_path / "secret"
    for folder in (inside / "deep", outside):
        folder.mkdir(parents=True)
    (inside / "a.csv").write_text("text\nx\n")
    (inside / ".hidden").write_text("x")
    (inside / "out").symlink_to(outside)
    access = PageAccess.of([str(inside)], hub=False, loopback=True)
    assert [each["path"] for each in access.listing("")["entries"]] == [str(inside.resolve())]
    listed = access.listing(str(inside))
    assert [(each["name"], each["folder"]) for each in listed["entries"]] == [
        ("deep", True),
        ("a.csv", False),
    ]
    assert listed["above"] == ""
    assert access.listing(str(inside / "deep"))["above"] == str(inside.resolve())
    for elsewhere in ("/", str(outside), f"{inside}/..", f"{inside}/out", "\0", "/etc/passwd"):
        with pytest.raises(NotAllowed):
            access.listing(elsewhere)
    with pytest.raises(NotAllowed, match="can't be listed"):
        access.listing(str(inside / "a.csv"))
