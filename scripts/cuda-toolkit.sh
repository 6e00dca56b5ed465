#!/usr/bin/env bash
# Lays what `xd --device cuda` opens beside the driver, NVRTC and cuBLAS, out of NVIDIA's wheels on PyPI: no toolkit, no root.
#
#   scripts/cuda-toolkit.sh DIR [nvrtc]     both libraries (about 1 GB), or NVRTC alone (220 MB), as DIR/lib/lib*.so.13
#
# then: LD_LIBRARY_PATH=DIR/lib xd run FILE --device cuda
#
# Building xd needs nothing of this; the tests compile the kernels with NVRTC if it is in target/cuda.
set -euo pipefail
dir=${1:?where to? usage: scripts/cuda-toolkit.sh DIR [nvrtc]}
what=${2:-all}
wheels=(nvidia-cuda-nvrtc==13.0.88)
case $what in
  nvrtc) ;;
  all) wheels+=(nvidia-cublas==13.1.0.3) ;;
  *) echo "what is $what? usage: scripts/cuda-toolkit.sh DIR [nvrtc]" >&2; exit 1 ;;
esac
done="$dir/$(printf '%s ' "${wheels[@]}" | cksum | cut -d' ' -f1).done"
if [ -e "$done" ]; then exit 0; fi
mkdir -p "$dir"
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --upgrade --target "$dir/wheels" "${wheels[@]}"
ln -sfn wheels/nvidia/cu13/lib "$dir/lib"
ls "$dir"/lib/libnvrtc.so.* >/dev/null
touch "$done"
