#!/usr/bin/env bash
# LIT on a GPU server, reached through an SSH tunnel: it listens on this machine alone.
#   on the server:  launch/serve.sh gpt2-small,EleutherAI/pythia-410m
#   at home:        ssh -L 5432:127.0.0.1:5432 the-server     and open http://127.0.0.1:5432/
set -euo pipefail
exec python -m lit_tl.launch --models "${1:?models, as for --models}" --device cuda --dtype bfloat16 "${@:2}"
