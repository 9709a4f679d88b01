"""One process or many: which this is, and PyTorch's own ways to share the work."""

import contextlib
import dataclasses
import datetime
import os
from typing import Any, Callable, Iterator, Mapping, Optional

import torch


@dataclasses.dataclass(frozen=True)
class Processes:
    """This process among all. `rank` counts over all machines, `local_rank` on this one (which
    picks the GPU)."""

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and talks."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> None:
        """Add up a tensor over all processes, in place."""
        if self.world_size > 1:
            torch.distributed.all_reduce(tensor)

    def from_first(self, make: Callable[[], Any]) -> Any:
        """What the first process makes, on all; what it raises is raised on all."""
        if self.world_size == 1:
            return make()
        holder: list[Any] = [None, None]
        if self.is_first:
            try:
                holder = [make(), None]
            except (ValueError, OSError) as error:
                holder = [None, error]
        torch.distributed.broadcast_object_list(holder, src=0, device=torch.device("cpu"))
        if holder[1] is not None:
            raise holder[1]
        return holder[0]

    def agree(self, values: Mapping[str, Any]) -> None:
        """Check that all processes are told the same.

        Raises:
            ValueError: on all of them, where one is not.
        """
        if self.world_size == 1:
            return
        gathered: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(
            gathered, {name: repr(value) for name, value in values.items()}
        )
        for rank, other in enumerate(gathered):
            for name in {**gathered[0], **other}:
                if other.get(name) != gathered[0].get(name):
                    raise ValueError(
                        f"processes 0 and {rank} differ in {name}: {gathered[0].get(name)} and "
                        f"{other.get(name)}; give all machines the same command, model and data"
                    )


ALONE = Processes()
"""One process that is not connected to any."""


@contextlib.contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """The processes that `torchrun` started, connected; or this one alone. NCCL for CUDA's tensors,
    gloo for the CPU's.

    Raises:
        ValueError: torchrun's variables are incomplete.
    """
    if "RANK" not in os.environ:
        yield Processes()
        return
    try:
        rank, local_rank, world_size = (
            int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")
        )
    except KeyError as error:
        raise ValueError(
            f"RANK is set, but {error.args[0]} is not: start the processes with torchrun"
        ) from error
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backends = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backends, timeout=datetime.timedelta(minutes=30))
    yield Processes(rank, local_rank, world_size)
    # Not where something failed: the others would end of the lost connection before this process
    # has said what it was.
    torch.distributed.destroy_process_group()


def pick_device(asked: Optional[str]) -> torch.device:
    """The device that was asked for, or the best there is; under torchrun, this process's GPU.

    Raises:
        ValueError: there is no such device.
    """
    try:
        device = torch.device(
            asked
            or (
                "cuda"
                if torch.cuda.is_available()
                else "mps"
                if torch.backends.mps.is_available()
                else "cpu"
            )
        )
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {asked} can't be used: {str(error).splitlines()[0]}") from error
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        if device.index is not None and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
            raise ValueError(
                f"--device {asked} would put every process on one GPU: give --device cuda, and "
                "each takes its own"
            )
        return (
            device
            if device.index is not None
            else torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        )
    return device


def check_sharding(device: torch.device, *, cpu_offload: bool) -> None:
    """Say before a model is loaded that it can't be sharded.

    Raises:
        ValueError: there is no process group (start with torchrun), or nothing to offload from.
    """
    if not torch.distributed.is_initialized():
        raise ValueError(
            "--fsdp shards the model over processes: start them with torchrun "
            "(launch/train_one_node.sh)"
        )
    if cpu_offload and device.type == "cpu":
        raise ValueError(
            "--cpu_offload takes the model's shards off a GPU, and there is none here: leave "
            "the flag out"
        )


def shard(model: Any, device: torch.device, *, cpu_offload: bool) -> None:
    """Shard the blocks of a frozen Hugging Face model over all processes, in place: each block's
    weights are gathered when it runs. Embeddings, final norm and unembedding stay whole on each,
    since every layer's loss reads them.

    Raises:
        ValueError: see `check_sharding`.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

    from lit_tl.engine.hugging_face_models import HuggingFaceAdapter

    check_sharding(device, cpu_offload=cpu_offload)
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    blocks = HuggingFaceAdapter(model).blocks
    policy = CPUOffloadPolicy() if cpu_offload else OffloadPolicy()
    for block in blocks:
        # Each is a root of its own, so that it must be told to give its weights back.
        fully_shard(block, mesh=mesh, reshard_after_forward=True, offload_policy=policy)
    inside = {id(parameter) for parameter in blocks.parameters()}
    for module in model.modules():
        for parameter in list(module.parameters(recurse=False)):
            if id(parameter) not in inside:
                parameter.data = parameter.data.to(device)
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.to(device))
