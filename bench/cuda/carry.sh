#!/bin/bash
# Puts what bench/cuda/run.sh --binaries needs into a folder, to be carried to a machine with a card and without Rust.
#
#   bench/cuda/carry.sh DIR                 # DIR: the three measured programs, xd, and the tests of the card
#
# Carry DIR and the folder bench; docs/cuda.md says what else that machine needs.
set -euo pipefail
dir=$(realpath -m "${1:?where to? usage: bench/cuda/carry.sh DIR}")
cd "$(dirname "$0")/../.."
mkdir -p "$dir"
cargo build --release --bin xd --example train_speed --example scaling_speed --example harvest_speed
cp target/release/xd target/release/examples/train_speed target/release/examples/scaling_speed target/release/examples/harvest_speed "$dir/"
tests=$(cargo test --release --test cuda --no-run --message-format json | python3 -c '
import json, sys
found = [json.loads(line) for line in sys.stdin if line.startswith("{")]
print(next(one["executable"] for one in found if one.get("executable") and one["target"]["name"] == "cuda" and one["profile"]["test"]))')
cp "$tests" "$dir/cuda_tests"
ls -l "$dir"
