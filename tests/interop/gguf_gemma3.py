"""xd's reading of a real GGUF file against transformers' reading of the same file.

    sh experiments/gemma3_270m_chitchat/fetch.sh
    python3 tests/interop/gguf_gemma3.py [FILE.gguf]

Whole texts go in on both sides: token ids, the stream after every block and the next-token probabilities come out and are compared.
Needs torch, transformers, gguf and safetensors; what is missing is installed from PyPI into a temporary folder. Where that cannot be
done it says so loudly and ends with status 77.

On Gemma 3 270M (Q4_K_M, transformers 5.23, torch 2.15): ids of 5 of 5 texts equal, 1,123 positions, the longest text of 1,029 tokens (twice the
sliding window); streams of all 18 layers within 3.0e-4 standard deviations, probabilities within 9.7e-6, the same first choice everywhere.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ROOT / "experiments/gemma3_270m_chitchat/gemma-3-270m-q4_k_m.gguf"
TEXTS = [
    "The capital of France is",
    "It was the best of times, it was the worst of times,\n\nit was the age of  wisdom,\tit was the age of foolishness.",
    "Zürich 東京 🙂 naïve: 3.14159, 'don't' (\"quoted\") <b>bold</b>   three spaces    four\n\n\n",
    "<start_of_turn>user\nWhat's up?<end_of_turn>\n<start_of_turn>model\nNot much, you?<end_of_turn>\n",
]


def skip(why):
    print(f"SKIPPED, NOTHING WAS COMPARED: {why}", file=sys.stderr)
    sys.exit(77)


def install():
    missing = [m for m in ("torch", "transformers", "gguf", "safetensors") if importlib.util.find_spec(m) is None]
    if not missing:
        return
    place = tempfile.mkdtemp(prefix="xd-interop-")
    print("installing", *missing)
    if subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", place, *missing]).returncode:
        skip(f"{', '.join(missing)} cannot be installed")
    sys.path.insert(0, place)


def long_text():
    """A text longer than the sliding window of 512 tokens."""
    lines = (ROOT / "experiments/organism/texts/prose_heldout.jsonl").read_text(encoding="utf-8").splitlines()
    return "\n\n".join(json.loads(line)["text"] for line in lines[:8])


def ours(model, work):
    environment = dict(os.environ, XD_GGUF=str(model), XD_GGUF_WORK=str(work))
    command = ["cargo", "test", "--release", "--test", "engine", "gguf::real::dump", "--", "--ignored", "--exact", "--nocapture"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def main():
    model = Path(sys.argv[1] if len(sys.argv) > 1 else DEFAULT).resolve()
    if not model.is_file():
        skip(f"there is no {model}; run experiments/gemma3_270m_chitchat/fetch.sh")
    install()
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    texts = TEXTS + [long_text()]
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        (work / "texts.json").write_text(json.dumps(texts))
        ours(model, work)
        got = load_file(work / "xd.safetensors")
    tokenizer = AutoTokenizer.from_pretrained(model.parent, gguf_file=model.name)
    reference = AutoModelForCausalLM.from_pretrained(model.parent, gguf_file=model.name, dtype=torch.float32)
    reference.eval()
    streams = {}
    for number, layer in enumerate(reference.model.layers):
        def keep(_, __, output, number=number):
            streams[number] = (output[0] if isinstance(output, tuple) else output)[0]
        layer.register_forward_hook(keep)
    worst_stream = worst_probability = worst_divergence = 0.0
    wrong_ids = wrong_top = tokens = 0
    print(f"{'text':>4} {'tokens':>6} {'stream':>9} {'at layer':>8} {'probability':>11} {'KL nats':>9}")
    for index, text in enumerate(texts):
        ids = tokenizer(text, return_tensors="pt").input_ids
        if not torch.equal(ids[0], got[f"ids_{index}"]):
            wrong_ids += 1
            print(f"{index:>4} ids differ:\n  transformers {ids[0].tolist()}\n  xd           {got[f'ids_{index}'].tolist()}")
            continue
        with torch.no_grad():
            logits = reference(ids).logits[0]
        distances = {
            layer: float((got[f"residual_post_{index}_{layer}"] - want).abs().max() / want.std())
            for layer, want in streams.items()
        }
        layer = max(distances, key=distances.get)
        probability = divergence = 0.0
        # A few positions at a time: a row has 262,144 probabilities.
        for start in range(0, len(logits), 64):
            rows = slice(start, start + 64)
            p, q = (side[rows].double().log_softmax(-1) for side in (logits, got[f"logits_{index}"]))
            probability = max(probability, float((p.exp() - q.exp()).abs().max()))
            divergence = max(divergence, float((p.exp() * (p - q)).sum(-1).max()))
            wrong_top += int((p.argmax(-1) != q.argmax(-1)).sum())
        tokens += ids.shape[1]
        print(f"{index:>4} {ids.shape[1]:>6} {distances[layer]:>9.1e} {layer:>8} {probability:>11.1e} {divergence:>9.1e}")
        worst_stream = max(worst_stream, distances[layer])
        worst_probability, worst_divergence = max(worst_probability, probability), max(worst_divergence, divergence)
    print(f"{len(texts) - wrong_ids} of {len(texts)} texts with equal ids, {tokens} positions, {wrong_top} other first choices")
    print(f"largest distance of a stream {worst_stream:.1e} standard deviations, of a probability {worst_probability:.1e}, KL {worst_divergence:.1e}")
    if wrong_ids or worst_stream > 1e-2 or worst_probability > 1e-3:
        sys.exit("xd and transformers disagree")


main()
