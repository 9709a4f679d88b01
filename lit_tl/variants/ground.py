"""What changes are made on: a model, and where data sets and files are found."""

import contextlib
import dataclasses
import hashlib
import pathlib
import threading
from typing import Any, Callable, Mapping, Optional, Sequence

import cachetools

from lit_tl.data.prompt_source import PromptSource
from lit_tl.engine.prompts import Prompt, Prompter
from lit_tl.engine.requests import Observe
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site
from lit_tl.lens.choice import LensChoice
from lit_tl.variants import over_data
from lit_tl.variants.over_data import Vector

Prompts = Sequence[Mapping[str, Any]]
_KNOWN_BYTES = 16 * 2**20


def prompts_of(name: str) -> Prompts:
    """The prompts of a task by its name, or of a file.

    Raises:
        DataError: there are none.
    """
    return PromptSource.parse(name).load().examples


class KnownVectors:
    """Vectors that took a pass over a data set, bounded in bytes. Safe to use from several
    threads."""

    def __init__(self) -> None:
        self._vectors: "cachetools.LRUCache[str, Vector]" = cachetools.LRUCache(
            _KNOWN_BYTES, getsizeof=lambda vector: vector.nbytes
        )
        self._lock = threading.Lock()

    def get(self, key: str) -> Optional[Vector]:
        """The vector; None where it is not kept."""
        with self._lock:
            return self._vectors.get(key)

    def keep(self, key: str, vector: Vector) -> None:
        """Keep a vector, unless it alone is past the bound."""
        with self._lock, contextlib.suppress(ValueError):
            self._vectors[key] = vector


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """What changes are made on.

    Args:
        runner: of the model, unchanged.
        prompter: of the runner.
        lenses: gives the model's lenses.
        prompts_of: gives the prompts of a data set.
        file: gives the place of a file of vectors, or refuses it.
        known: values over data sets that were computed before.
    """

    runner: Runner
    prompter: Prompter
    lenses: Callable[[], LensChoice]
    prompts_of: Callable[[str], Prompts] = prompts_of
    file: Callable[[str], pathlib.Path] = pathlib.Path
    known: KnownVectors = dataclasses.field(default_factory=KnownVectors)

    def data_set(self, name: str) -> list[Prompt]:
        """The prompts of a data set, as the model reads them."""
        return [self.prompter.prompt(example) for example in self.prompts_of(name)]

    def means(self, prompts: Sequence[Prompt], sites: Sequence[Site]) -> dict[Site, Vector]:
        """As `over_data.means`; what was asked for before is not computed again."""
        keys = {site: self._key(prompts, str(site)) for site in sites}
        known = {site: self.known.get(key) for site, key in keys.items()}
        missing = [site for site, vector in known.items() if vector is None]
        made = over_data.means(self.runner, prompts, missing) if missing else {}
        for site, vector in made.items():
            self.known.keep(keys[site], vector)
        return {site: vector for site, vector in known.items() if vector is not None} | made

    def drawn_values(self, prompts: Sequence[Prompt], site: Site, seed: int) -> Vector:
        """As `over_data.drawn_values`; what was asked for before is not computed again."""
        key = self._key(prompts, f"{site} {seed}")
        vector = self.known.get(key)
        if vector is None:
            vector = over_data.drawn_values(self.runner, prompts, site, seed)
            self.known.keep(key, vector)
        return vector

    def _key(self, prompts: Sequence[Prompt], what: str) -> str:
        digest = hashlib.sha256(f"{self.runner.state()} {what}".encode())
        for prompt in prompts:
            digest.update(f"{prompt.ids}".encode())
        return digest.hexdigest()

    def width(self, site: Site) -> int:
        """How many numbers stand at each position of a site of one layer, of one head."""
        whole = Site(site.component, site.layer, site.head)
        observe = {"width": Observe(whole, lambda value, _: value.shape[-1])}
        ids = self.prompter.from_text("").ids[:1]
        (batch,) = self.runner.run([Prompt(ids=ids)], observe=observe, logits="none")
        return int(batch.observed["width"])
