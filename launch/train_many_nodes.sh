#!/usr/bin/env bash
# Train a tuned lens on several machines: run the same line on each of them, with a folder that all of them see as --output.
#   NODES=2 HEAD=node0.example.org GPUS=8 launch/train_many_nodes.sh --model ... --data ... --output /shared/lenses/... --checkpoint_freq 25
# HEAD is the machine that the others meet at, PORT a free port of it. The first process of all writes; the others read checkpoints from it.
set -euo pipefail
exec python -m torch.distributed.run \
  --nnodes="${NODES:?number of machines}" \
  --nproc-per-node="${GPUS:?processes on each machine}" \
  --rdzv-backend=c10d --rdzv-id="${JOB:-lit_tl}" --rdzv-endpoint="${HEAD:?machine to meet at}:${PORT:-29500}" \
  ${ADDRESS:+--local-addr="$ADDRESS"} \
  -m lit_tl.lens train "$@"
