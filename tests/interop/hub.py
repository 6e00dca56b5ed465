"""The cache of the hub as huggingface_hub sees it. Run by tests/interop/hub.sh against a hub on a local socket (HF_ENDPOINT).

read:  what xd fetched is found, offline and online; prints one line a file, `REPOSITORY PATH SHA256`.
write: fetches everything that an experiment reads, for xd to find.
"""

import hashlib
import os
import sys

import huggingface_hub
from huggingface_hub import hf_hub_download, snapshot_download

MODEL = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
DATA = ["README.md", "data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl"]
WANTED = [("tiny/base", "model", MODEL), ("tiny/chat", "model", MODEL), ("tiny/prose", "dataset", DATA)]


def say(repo, path, local):
    with open(local, "rb") as file:
        print(repo, path, hashlib.sha256(file.read()).hexdigest())


def read():
    for repo, kind, paths in WANTED:
        for path in paths:
            kept = hf_hub_download(repo, path, repo_type=kind, local_files_only=True)
            asked = hf_hub_download(repo, path, repo_type=kind)
            assert kept == asked, (kept, asked)
            say(repo, path, asked)


def write():
    for repo, kind, paths in WANTED:
        folder = snapshot_download(repo, repo_type=kind, allow_patterns=paths)
        for path in paths:
            say(repo, path, os.path.join(folder, path))


if __name__ == "__main__":
    print("huggingface_hub", huggingface_hub.__version__, file=sys.stderr)
    {"read": read, "write": write}[sys.argv[1]]()
