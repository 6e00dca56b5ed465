# Sourced by run.sh of train, scaling, costs and cuda: $python with torch, transformers, numpy and safetensors from PyPI, in VENV or target/bench-venv.
venv=${VENV:-target/bench-venv}
python="$venv/bin/python"
if [ ! -x "$python" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q torch --index-url https://download.pytorch.org/whl/cpu || "$venv/bin/pip" install -q torch
  "$venv/bin/pip" install -q numpy safetensors transformers
fi
