#!/bin/bash
# What training and analyses cost, measured against what `xd plan` predicts: docs/performance.md. Options in costs.py.
# Needs: Rust and Python 3.10 or later, nothing else. With --refit it writes the constants of the prediction and runs once more with them.
set -euo pipefail
cd "$(dirname "$0")/../.."
build() { cargo build --release --bin xd --example cost_figure; }
build
python3 bench/costs/costs.py "$@"
case " $* " in
*" --refit "*)
  build
  python3 bench/costs/costs.py "${@/--refit/--rounds=1}"
  ;;
esac
