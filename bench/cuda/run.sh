#!/bin/bash
# Everything there is to measure and to check on an NVIDIA card: docs/performance.md.
#
#   bench/cuda/run.sh                       # builds xd here
#   bench/cuda/run.sh --binaries DIR        # programs that were built elsewhere: no Rust is needed (bench/cuda/carry.sh makes DIR)
#   bench/cuda/run.sh --self-test           # the same script at tiny sizes on the CPU, where there is no card
#
# Needs Python 3.10 or later with torch (for a card: torch's CUDA build), numpy, safetensors and, for the harvest, transformers; VENV names the
# environment.
set -euo pipefail
cd "$(dirname "$0")/../.."
case " $* " in
  *" --binaries"*) ;;
  *)
    bench/cuda/carry.sh target/bench-cuda
    set -- --binaries target/bench-cuda "$@"
    ;;
esac
if [ -n "${VENV:-}" ] || ! python3 -c 'import torch, numpy, safetensors' 2>/dev/null; then
  . bench/environment.sh
else
  python=python3
fi
# torch's wheels bring the NVRTC and cuBLAS that xd opens; what LD_LIBRARY_PATH names already comes first.
wheels=$("$python" - <<'SAID'
import importlib.util, pathlib
found = importlib.util.find_spec("nvidia")
roots = [pathlib.Path(root) for root in (found.submodule_search_locations if found else [])]
print(":".join(str(folder) for root in roots for folder in sorted([*root.glob("cu1*/lib"), *root.glob("cublas/lib"), *root.glob("cuda_nvrtc/lib")])))
SAID
)
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}${LD_LIBRARY_PATH:+:}$wheels"
exec "$python" bench/cuda/compare.py "$@"
