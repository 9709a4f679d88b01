"""One prompt under many changes, each in a run of its own."""

import collections
import dataclasses
from typing import Iterator, Optional, Sequence

import torch
from jaxtyping import Float

from lit_tl.engine import jobs, memory
from lit_tl.engine.agreement import apart
from lit_tl.engine.interventions import Intervention
from lit_tl.engine.one_pass import LastLogits
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.protocol import ModelAdapter
from lit_tl.engine.resuming import Branch, Trunk, branch_of, branches_logits, grow_trunk
from lit_tl.engine.runner import BACKGROUND_TOKENS, Runner
from lit_tl.engine.tree_state import tree_state

_LOGIT_BYTES = 64 * 2**20
"""Of one pass."""
_FAILURES = (AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""Of an architecture that can't be gone on with."""


@dataclasses.dataclass(frozen=True)
class Variation:
    """Some changes' logits.

    Args:
        index: the places of the changes in the list.
        logits: of the last positions.
        resumed: whether the runs went on from the unchanged one, or were whole passes.
    """

    index: Sequence[int]
    logits: Float[torch.Tensor, "change read d_vocab"]
    resumed: bool


@dataclasses.dataclass(frozen=True, eq=False)
class _Cell:
    index: Optional[int]
    branch: Branch


def variations(
    runner: Runner,
    prompt: Prompt,
    changes: Sequence[Sequence[Intervention]],
    *,
    read: int = 1,
    resume: bool = True,
) -> Iterator[Variation]:
    """Logits of a prompt under each of many changes.

    A changed run goes on from the unchanged one where its changes begin; see
    `lit_tl.engine.resuming`. A row without changes runs beside the first of them, and if its logits
    are not the unchanged run's, as in a model with a recurrent state, every change takes a whole
    pass. So does a change at the embedding or of an edge, every change of a runner with
    interventions of its own, and of a model with hooks that a user put there.

    Args:
        runner: of the model.
        prompt: what runs.
        changes: the interventions of each run; none for the unchanged one.
        read: how many positions' logits are wanted, from the end on.
        resume: False to take whole passes.

    Returns:
        Parts of the changes, each once. Between parts the current job hears how far the work is,
        and may stop it.

    Raises:
        ValueError: a site does not exist, numbers do not fit it, or the model does not do what a
            change relies on.
        lit_tl.engine.jobs.Cancelled: the job was cancelled.
    """
    prompt.check(runner.shape)
    job, finished = jobs.current(), 0
    waiting = list(range(len(changes)))
    if resume and runner.is_unchanged():
        left = set(waiting)
        for part in _resumed(runner, prompt, changes, read):
            left.difference_update(part.index)
            finished += len(part.index)
            yield part
            job.advance(finished, len(changes))
        waiting = sorted(left)
    if not waiting:
        return
    own = [changes[index] for index in waiting]
    whole = runner.run([prompt] * len(own), each=own, logits=LastLogits(read))
    for batch in whole:
        index = [waiting[place] for place in batch.index]
        yield Variation(index, batch.need_logits(), resumed=False)


def _resumed(
    runner: Runner, prompt: Prompt, changes: Sequence[Sequence[Intervention]], read: int
) -> Iterator[Variation]:
    """Those changes that can be gone on with."""
    by_components: dict[frozenset[str], list[_Cell]] = collections.defaultdict(list)
    unchanged = [index for index, own in enumerate(changes) if not own]
    for index, own in enumerate(changes):
        branch = branch_of(runner.place(own), prompt)
        if branch is not None:
            components = frozenset(point.component for point in branch.placed)
            by_components[components].append(_Cell(index, branch))
    for cells in by_components.values():
        tree = runner.tree_for(cells[0].branch.placed, ())
        trunk = _trunk(tree, prompt, read)
        if trunk is None:
            continue
        if unchanged:
            yield Variation(unchanged, trunk.logits[None].expand(len(unchanged), -1, -1), True)
            unchanged = []
        checked = False
        for part in _parts(runner, cells, len(prompt), read):
            jobs.current().check()
            checks = [] if checked else _rows_to_check(tree)
            logits = _run(trunk, part, checks)
            if logits is None:
                break
            checked = True
            yield Variation([cell.index for cell in part if cell.index is not None], logits, True)


def _trunk(tree: ModelAdapter, prompt: Prompt, read: int) -> Optional[Trunk]:
    state = tree_state(tree.module)
    with state.lock, torch.no_grad():
        if state.resumes_inside is False:
            return None
        try:
            trunk = grow_trunk(tree, prompt, read)
        except _FAILURES as error:
            if memory.is_out_of_memory(error):
                raise
            trunk = None
        if trunk is None:
            state.resumes_inside = False
        return trunk


def _rows_to_check(tree: ModelAdapter) -> list[_Cell]:
    """Rows without changes: from the start, and for the first time also from a middle layer."""
    middle = [] if tree_state(tree.module).resumes_inside else [tree.shape.n_layers // 2]
    return [_Cell(None, Branch({}, layer, 2**31)) for layer in (0, *middle)]


def _run(
    trunk: Trunk, part: Sequence[_Cell], checks: Sequence[_Cell]
) -> Optional[Float[torch.Tensor, "change read d_vocab"]]:
    """Logits of a part, or None where the rows to check are not the trunk's."""
    cells = sorted([*part, *checks], key=lambda cell: cell.branch.layer)
    state = tree_state(trunk.tree.module)
    with state.lock, torch.no_grad():
        try:
            logits = branches_logits(trunk, [cell.branch for cell in cells])
        except _FAILURES as error:
            if not checks or memory.is_out_of_memory(error):
                raise
            state.resumes_inside = False  # the whole passes say what is wrong, if it is the change
            return None
    rows = {id(cell): row for row, cell in enumerate(cells)}
    exact = trunk.logits.dtype in (torch.float32, torch.float64)
    for check in checks:
        if apart(logits[rows[id(check)]], trunk.logits) > (1e-4 if exact else 5e-2):
            state.resumes_inside = False
            return None
    state.resumes_inside = True
    return logits[[rows[id(cell)] for cell in part]] if checks else logits


def _parts(
    runner: Runner, cells: Sequence[_Cell], length: int, read: int
) -> Iterator[Sequence[_Cell]]:
    """Cells that run together: of one start, in the order of their layers."""
    budget = runner.token_budget
    if jobs.current().background and runner.device.type == "cpu":
        budget = min(budget, BACKGROUND_TOKENS)
    by_start: dict[int, list[_Cell]] = {}
    for cell in cells:
        by_start.setdefault(min(cell.branch.start, length - read), []).append(cell)
    needs = memory.Needs(
        gradients=False, logits=False, observe={}, bytes_of_number=4, fused_attention=False
    )
    for start, group in sorted(by_start.items()):
        group.sort(key=lambda cell: cell.branch.layer)
        rows = max(
            1, min(budget // (length - start), _LOGIT_BYTES // (4 * runner.shape.d_vocab * read))
        )
        free = memory.free_on(runner.device)
        while (
            rows > 1 and memory.bytes_of_pass(runner.shape, needs, rows=rows, length=length) > free
        ):
            rows //= 2
        for first in range(0, len(group), rows):
            yield group[first : first + rows]
