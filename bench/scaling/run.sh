#!/bin/bash
# Latent Scaling of xd against the published procedure in plain torch: docs/performance.md. `run.sh [SIZE ..]`, sizes in compare.py.
# Needs: Rust, Python 3.10 or later, network to PyPI. VENV names an environment that has torch, numpy and safetensors already.
set -euo pipefail
cd "$(dirname "$0")/../.."
. bench/environment.sh
cargo build --release --example scaling_speed
"$python" bench/scaling/compare.py "$@"
