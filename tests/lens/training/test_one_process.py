"""One process alone, and what it says of wrong surroundings."""

import pytest
import torch

from lit_tl.lens.training import processes
from lit_tl.lens.training.processes import ALONE, Processes


def test_alone_it_is_the_first_and_needs_nobody() -> None:
    assert ALONE.is_first
    value = torch.tensor([1.0, 2.0])
    ALONE.sum(value)
    assert value.tolist() == [1.0, 2.0]
    assert ALONE.from_first(lambda: 7) == 7
    ALONE.agree({"data": "a"})
    with pytest.raises(ValueError, match="sentence"):
        ALONE.from_first(lambda: (_ for _ in ()).throw(ValueError("a sentence")))


def test_others_are_not_the_first() -> None:
    assert not Processes(rank=1, world_size=2).is_first


def test_without_torchrun_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with processes.processes(torch.device("cpu")) as made:
        assert made == Processes()


@pytest.mark.parametrize("missing", ["LOCAL_RANK", "WORLD_SIZE"])
def test_half_of_torchruns_variables_are_refused(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.delenv(missing)
    with (
        pytest.raises(ValueError, match=f"{missing} is not: start the processes with torchrun"),
        processes.processes(torch.device("cpu")),
    ):
        pass


def test_a_device_that_is_not_there_is_refused() -> None:
    assert processes.pick_device("cpu") == torch.device("cpu")
    for wrong in ("cuda:99", "nonsense"):
        with pytest.raises(ValueError, match=f"--device {wrong} can't be used"):
            processes.pick_device(wrong)


def test_sharding_needs_a_group_of_processes() -> None:
    with pytest.raises(ValueError, match="start them with torchrun"):
        processes.check_sharding(torch.device("cpu"), cpu_offload=False)
