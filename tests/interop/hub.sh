#!/bin/sh
# huggingface_hub reads the cache that xd wrote, and xd the one that huggingface_hub wrote, both against a hub on a local
# socket. Installs huggingface_hub from PyPI into target/interop (or takes the Python named by XD_PYTHON); where that
# cannot be had it says SKIPPED and ends with 0.
set -eu
cd "$(dirname "$0")/../.."
if [ -z "${XD_PYTHON:-}" ]; then
    venv=target/interop/hub
    if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c "import huggingface_hub" 2>/dev/null; then
        if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet "huggingface_hub>=0.30"; }; then
            echo "SKIPPED: huggingface_hub could not be installed (python3 -m venv, pip); nothing was compared" >&2
            exit 0
        fi
    fi
    XD_PYTHON=$PWD/$venv/bin/python
fi
export XD_PYTHON
exec cargo test --release --test engine hub::python -- --ignored --nocapture
