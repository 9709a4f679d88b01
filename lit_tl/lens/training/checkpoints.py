"""Checkpoints: files that hold everything a run needs to go on as if it had never stopped."""

import pathlib
import re
from typing import Any, Mapping, Optional

import torch

from lit_tl.lens import artifacts

_FORMAT = "lit_tl lens training 1"


class CheckpointError(ValueError):
    """A run can't go on from its checkpoint, or can't write one. The message says which file or
    setting, and what to do."""


class Checkpoints:
    """The checkpoints of one run in a folder, `step_00000050.pt` and so on.

    Args:
        folder: where they lie.
        settings: on what the lens depends. A checkpoint with other ones is refused.
        keep: how many of the newest are kept; 0 for all.
    """

    def __init__(self, folder: pathlib.Path, settings: Mapping[str, Any], *, keep: int):
        self.folder, self._settings, self._keep = folder, dict(settings), keep

    def newest(self) -> Optional[dict[str, Any]]:
        """The state in the newest one, or None where there is none.

        Raises:
            CheckpointError: it can't be read, or belongs to a run with other settings.
        """
        files = self._files()
        if not files:
            return None
        path = files[-1]
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except artifacts.DAMAGED_PICKLE as error:
            then = "go on from the one before" if len(files) > 1 else "begin anew"
            raise CheckpointError(
                f"{path} is damaged: {artifacts.first_line(error)}; delete it to {then}"
            ) from error
        if not isinstance(state, dict) or state.get("format") != _FORMAT:
            raise CheckpointError(
                f"{path} is no checkpoint of lens training: move it away, or give another "
                "--checkpoint_dir"
            )
        self._compare(path, state["settings"])
        return state

    def write(self, step: int, state: Mapping[str, Any]) -> pathlib.Path:
        """Write one whole or not at all, then delete those that are too many.

        Raises:
            CheckpointError: it can't be written; those before are as they were.
        """
        path = self.folder / f"step_{step:08d}.pt"
        content = {"format": _FORMAT, "step": step, "settings": self._settings, **state}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for left in self.folder.glob(".step_*.pt.*"):  # of a run that was killed while it wrote
                left.unlink(missing_ok=True)
            artifacts.save_tensors(path, content)
        except OSError as error:
            remark = (
                f"; {self._files()[-1]} is whole, and the same command goes on from it"
                if self._files()
                else ""
            )
            raise CheckpointError(f"the checkpoint {error}{remark}") from error
        for old in self._files()[: -self._keep] if self._keep else []:
            old.unlink(missing_ok=True)
        return path

    def _files(self) -> list[pathlib.Path]:
        files = self.folder.glob("step_*.pt") if self.folder.is_dir() else []
        return sorted(path for path in files if re.fullmatch(r"step_\d{8}\.pt", path.name))

    def _compare(self, path: pathlib.Path, other: Mapping[str, Any]) -> None:
        names = [
            name
            for name in {**other, **self._settings}
            if other.get(name) != self._settings.get(name)
        ]
        if names:
            name = names[0]
            raise CheckpointError(
                f"{path} is of a run with {name} {_short(other.get(name))}, and this one has "
                f"{_short(self._settings.get(name))}: give the same {name}, or another --output or "
                "--checkpoint_dir"
            )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."
