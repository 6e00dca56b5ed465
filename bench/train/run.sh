#!/bin/bash
# Training throughput of xd against the published step in plain torch: docs/performance.md. `run.sh [SIZE ..]`, sizes in compare.py.
# Needs: Rust, Python 3.10 or later, network to PyPI. VENV names an environment that has torch, numpy and safetensors already.
set -euo pipefail
cd "$(dirname "$0")/../.."
. bench/environment.sh
cargo build --release --example train_speed
"$python" bench/train/compare.py "$@"
