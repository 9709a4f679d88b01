#!/usr/bin/env bash
# Train a tuned lens on all GPUs of this machine, one process for each; GPUS=2 says another number (and on a machine without, processes).
#   launch/train_one_node.sh --model EleutherAI/pythia-1.4b --data val.jsonl.zst --output lenses/pythia-1.4b --checkpoint_freq 25
# A model that does not fit on one GPU: add --fsdp, and --cpu_offload if its shards do not fit either. Optimizer state: --zero.
set -euo pipefail
gpus="${GPUS:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}"
exec python -m torch.distributed.run --standalone --nproc-per-node="$((gpus > 0 ? gpus : 1))" -m lit_tl.lens train "$@"
