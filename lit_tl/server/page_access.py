"""What the page may load: what is below some folders, what is shipped, and the Hub if allowed."""

import dataclasses
import os
import pathlib
from typing import Any, Optional, Sequence

from lit_tl.models.errors import BUNDLED_MODELS
from lit_tl.models.sources import Checkpoint, find_checkpoint

_MOST_LISTED = 1000


class NotAllowed(ValueError):
    """The page asked for what it may not load. The message says what would allow it."""


@dataclasses.dataclass(frozen=True)
class PageAccess:
    """Checks of what the page's dialog names. What a user names on the command line is not checked.

    Args:
        folders: below which files, models and lenses may lie.
        hub: whether names on the Hugging Face Hub may be loaded.
    """

    folders: tuple[pathlib.Path, ...] = ()
    hub: bool = False

    @classmethod
    def of(cls, folders: Optional[Sequence[str]], *, hub: bool, loopback: bool) -> "PageAccess":
        """From flags.

        Args:
            folders: of `--allow_path`; None for the folder that the server was started in, if only
                this machine reaches it.
            hub: of `--allow_hub`.
            loopback: whether only this machine reaches the server.

        Raises:
            ValueError: one of the folders does not exist.
        """
        if folders is None:
            folders = [os.getcwd()] if loopback else []
        paths = [pathlib.Path(folder).expanduser() for folder in folders]
        for path in paths:
            if not path.is_dir():
                raise ValueError(f"--allow_path {path} is no folder")
        return cls(tuple(path.resolve() for path in paths), hub)

    def file(self, path: str) -> str:
        """A path with its links followed, if it leads to a place below one of the folders.

        Raises:
            NotAllowed: it does not. Whether there is something is not said.
        """
        try:
            real = pathlib.Path(path).expanduser().resolve()
            real.exists()  # raises where the name is too long
        except (OSError, RuntimeError, ValueError) as error:
            raise NotAllowed(f"{path[:200]!r} is no path") from error
        if not any(real.is_relative_to(folder) for folder in self.folders):
            listed = ", ".join(map(str, self.folders)) or "none"
            raise NotAllowed(
                f"{path[:200]!r} is not below a folder that this page may read ({listed}): start "
                "the server with --allow_path to name another"
            )
        return str(real)

    def listing(self, folder: str) -> dict[str, Any]:
        """What there is to choose in a folder; "" lists the folders that may be read.

        Returns:
            `folder`, the folder `above` it ("" for the list of them), and `entries`: `name`, `path`
            and whether it is a `folder`. Links that lead elsewhere and hidden files are left out.

        Raises:
            NotAllowed: it is not below one of the folders, or is none.
        """
        if not folder:
            entries = [{"name": str(f), "path": str(f), "folder": True} for f in self.folders]
            return {"folder": "", "above": "", "entries": entries}
        real = pathlib.Path(self.file(folder))
        try:
            found = sorted(real.iterdir(), key=lambda path: (not path.is_dir(), path.name.lower()))
        except OSError as error:
            raise NotAllowed(f"{folder[:200]!r} can't be listed: {error.strerror}") from error
        entries = [
            {"name": path.name, "path": str(path), "folder": path.is_dir()}
            for path in found
            if not path.name.startswith(".") and self._is_inside(path)
        ]
        above = "" if real in self.folders else str(real.parent)
        return {"folder": str(real), "above": above, "entries": entries[:_MOST_LISTED]}

    def _is_inside(self, path: pathlib.Path) -> bool:
        try:
            self.file(str(path))
        except NotAllowed:
            return False
        return True

    def need_hub(self, name: str) -> None:
        """Refuse a name on the Hub where that is not allowed.

        Raises:
            NotAllowed: it is not.
        """
        if not self.hub:
            raise NotAllowed(
                f"{name[:200]!r} would be fetched from the Hugging Face Hub: start the server with "
                "--allow_hub, or with this in --models or --datasets"
            )

    def model(
        self, name: str, revision: Optional[str] = None, checkpoint_value: Optional[int] = None
    ) -> str:
        """A model's name as it may be loaded: shipped, of the Hub, or a place below the folders
        with all that it needs.

        Raises:
            NotAllowed: it, its adapter's base or one of its files lies elsewhere.
            lit_tl.models.errors.LoadingError: there is no such model.
        """
        if name in BUNDLED_MODELS:
            return name
        if not _is_path(name):
            self.need_hub(name)
            return name
        real = self.file(name)
        found = find_checkpoint(real, revision=revision, checkpoint_value=checkpoint_value)
        for place in _places(found):
            if not pathlib.Path(place).is_dir():
                self.need_hub(place)
                continue
            self.file(place)
            for file in pathlib.Path(place).rglob("*"):
                if file.is_symlink():
                    self.file(str(file))
        return real

    def lens(self, wanted: str) -> None:
        """Refuse lenses that lie elsewhere.

        Raises:
            NotAllowed: one does.
        """
        for source in [wanted] if pathlib.Path(wanted).expanduser().exists() else wanted.split("+"):
            if source in ("auto", "none"):
                continue
            if source.startswith("jacobian:") or not _is_path(source):
                self.need_hub(source)
            else:
                self.file(source)

    def template(self, wanted: str) -> None:
        """Refuse a chat template that lies elsewhere.

        Raises:
            NotAllowed: it does.
        """
        if wanted != "auto":
            self.file(wanted)


def _is_path(name: str) -> bool:
    """Whether a name means a place on this machine, be there something or not."""
    return (
        name.startswith((".", "~", os.sep))
        or name.endswith((".gguf", ".pt"))
        or pathlib.Path(name).expanduser().exists()
    )


def _places(checkpoint: Checkpoint) -> set[str]:
    places = {checkpoint.path, checkpoint.adapter, checkpoint.tokenizer}
    return {place for place in places if place}
