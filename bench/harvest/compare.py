"""Harvest throughput: xd against transformers, the same models, ids, layer, threads, in alternation.

    bench/harvest/run.sh                 # makes an environment, builds xd, fetches Gemma, runs this for both pairs
    compare.py NAME BASE TUNED TEXTS.jsonl LAYER TOKENS CONTEXT [--threads 2] [--rounds 5] [--speed PATH] [--device cpu] [--dtype f32]

Both sides get the ids of the same documents, run both models of the pair up to the layer and no further, batched by length, and
hand over rows [N, 2, d] in the models' format. torch: the model is cut to the layers that are needed (no later block, no final norm, no head), no cache,
inference mode; every attention it has and several batch sizes are tried first, and the fastest runs in the alternation. It leaves its
rows in the memory of the device. xd: the whole harvest, with the shuffle, the checksums and the writing and syncing of the shards. Loading is in neither.
The rows are compared. bench/cuda runs this on a card, in bf16, on models of published shapes (shapes.py).
"""

import argparse
import json
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Attentions and tokens of a batch that torch is tried with. transformers' eager attention keeps whole matrices of scores: on a card nobody runs
# long texts with it.
TRIES = {
    "cpu": [(attention, batch) for attention in ["sdpa", "eager"] for batch in [128, 256, 512, 1024, 2048, 8192]],
    "cuda": [("sdpa", batch) for batch in [16_384, 65_536]],
}


def documents(folder, texts, tokens, context):
    """Ids of documents, until there are so many tokens."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    found, total = [], 0
    for line in open(texts, encoding="utf-8"):
        row = json.loads(line)
        text = row["text"] if "text" in row else "\n".join(message["content"] for message in row["messages"])
        ids = tokenizer(text)["input_ids"][:context]
        found.append(ids)
        total += len(ids)
        if total >= tokens:
            return found
    sys.exit(f"{texts} has {total} tokens only")


def torch_dtype(name):
    import torch

    return {"f32": torch.float32, "bf16": torch.bfloat16}[name]


def cut(folder, layer, attention, device, dtype):
    """The blocks 0 to layer of a model, without its final norm."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch_dtype(dtype), attn_implementation=attention).model.eval()
    model.layers = model.layers[: layer + 1]
    model.config.num_hidden_layers = layer + 1
    model.norm = torch.nn.Identity()
    return model.to(device)


def torch_rows(models, ids, batch):
    """Rows [N, 2, d] in the order of the text, where the models are."""
    import torch

    where = {"device": models[0].device}
    starts = [0]
    for document in ids:
        starts.append(starts[-1] + len(document))
    rows = torch.empty(starts[-1], 2, models[0].config.hidden_size, dtype=models[0].dtype, **where)
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    while order:
        longest = len(ids[order[0]])
        members, order = order[: max(1, batch // longest)], order[max(1, batch // longest) :]
        padded = torch.zeros(len(members), longest, dtype=torch.long)
        for row, member in enumerate(members):
            padded[row, : len(ids[member])] = torch.tensor(ids[member])
        padded = padded.to(**where)
        for m, model in enumerate(models):
            hidden = model(input_ids=padded, use_cache=False).last_hidden_state
            for row, member in enumerate(members):
                rows[starts[member] : starts[member + 1], m] = hidden[row, : len(ids[member])]
    if where["device"].type == "cuda":
        torch.cuda.synchronize()
    return rows


def torch_side(arguments):
    """A process of its own: prints the seconds of one pass after a short warm-up."""
    import torch

    folders, ids_file, layer, threads, attention, batch, save, device, dtype = arguments[:2], *arguments[2:]
    torch.set_num_threads(int(threads))
    ids = json.load(open(ids_file))
    with torch.inference_mode():
        models = [cut(folder, int(layer), attention, device, dtype) for folder in folders]
        torch_rows(models, ids[: max(8, len(ids) // 20)], int(batch))
        start = time.perf_counter()
        rows = torch_rows(models, ids, int(batch))
        seconds = time.perf_counter() - start
        peak = torch.cuda.max_memory_allocated() if device == "cuda" else None
    if save != "-":
        rows.float().cpu().numpy().tofile(save)
    print(json.dumps({"seconds": seconds, "peak_bytes": peak}))


def run(command):
    """What a side printed, and why it ended without."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        return None, "; ".join(done.stderr.strip().splitlines()[-1:])
    return json.loads(done.stdout.strip().splitlines()[-1]), None


def stored(folder, index, shard):
    """Rows [N, 2, d] of a shard in f32."""
    import numpy

    file = folder / "train" / f"{shard['name']}.rows"
    if index["store"] == "bf16":
        wide = numpy.fromfile(file, dtype=numpy.uint16).astype(numpy.uint32) << 16
        return wide.view(numpy.float32).reshape(-1, 2, index["width"])
    return numpy.fromfile(file, dtype=numpy.float32).reshape(-1, 2, index["width"])


def difference(folder, torch_file, ids):
    """Of the rows' numbers over the standard deviation of all: the largest difference, and the root of the mean of its square."""
    import numpy

    index = json.load(open(folder / "train" / "index.json"))
    wanted = numpy.fromfile(torch_file, dtype=numpy.float32).reshape(-1, 2, index["width"])
    starts = numpy.concatenate([[0], numpy.cumsum([len(document) for document in ids])])
    worst, squares = 0.0, 0.0
    for shard in index["shards"]:
        rows = stored(folder, index, shard)
        info = (folder / "train" / f"{shard['name']}.info").read_bytes()
        records = [struct.unpack_from("<III", info, 24 * row) for row in range(len(rows))]
        at = [starts[sequence] + position for _, position, sequence in records]
        apart = numpy.abs(rows - wanted[at])
        worst = max(worst, float(apart.max()))
        squares += float(numpy.square(apart, dtype=numpy.float64).sum())
    scale = float(wanted.std(dtype=numpy.float64))
    return worst / scale, (squares / wanted.size) ** 0.5 / scale


def measure(base, tuned, ids, layer, a):
    """Times of both sides and how far their rows are apart."""
    with tempfile.TemporaryDirectory(dir=a.scratch) as scratch:
        scratch = Path(scratch)
        ids_file, rows_file, few_file = scratch / "ids.json", scratch / "torch.f32", scratch / "few.json"
        ids_file.write_text(json.dumps(ids))
        few_file.write_text(json.dumps(ids[: max(8, len(ids) // 4)]))

        def torch_run(attention, batch, file, save="-"):
            return run([sys.executable, __file__, "torch", base, tuned, file, layer, a.threads, attention, batch, save, a.device, a.dtype])

        def xd_run(folder):
            return run([a.speed, base, tuned, ids_file, layer, a.threads, folder, a.dtype, "--device", a.device])

        settings, refused = {}, set()
        for attention, batch in a.tries:
            if attention in refused:
                continue
            found, problem = min((torch_run(attention, batch, few_file) for _ in range(2)), key=lambda run: run[0]["seconds"] if run[0] else 0)
            print(f"  torch {attention} {batch}:", f"refused: {problem}" if problem else f"{found['seconds']:.2f} s on a quarter", flush=True)
            if problem:
                refused.add(attention)
            else:
                settings[attention, batch] = found["seconds"]
        if not settings:
            sys.exit("torch runs with no setting")
        attention, batch = min(settings, key=settings.get)
        runs = {"xd": [], "torch": []}
        for number in range(a.rounds):
            out = scratch / f"xd{number}"
            for side, (found, problem) in [("xd", xd_run(out)), ("torch", torch_run(attention, batch, ids_file, rows_file))]:
                if problem:
                    sys.exit(f"{side}: {problem}")
                runs[side].append(found)
        worst, mean = difference(out, rows_file, ids)
    seconds = {side: [found["seconds"] for found in all_runs] for side, all_runs in runs.items()}
    peaks = {side: max(found.get("peak_bytes") or 0 for found in all_runs) for side, all_runs in runs.items()}
    return {"seconds": seconds, "peaks": peaks, "worst": worst, "mean": mean, "setting": f"{attention}, batches of {batch} tokens"}


def ratios(found):
    """torch's time over xd's: of the best runs, of the medians."""
    seconds = found["seconds"]
    return [kind(seconds["torch"]) / kind(seconds["xd"]) for kind in [min, statistics.median]]


def main():
    parser = argparse.ArgumentParser()
    for name in ["name", "base", "tuned", "texts"]:
        parser.add_argument(name)
    for name in ["layer", "tokens", "context"]:
        parser.add_argument(name, type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--speed", default="target/release/examples/harvest_speed")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--scratch", help="where the shards are written")
    a = parser.parse_args()
    a.tries = TRIES[a.device]
    ids = documents(a.base, a.texts, a.tokens, a.context)
    total = sum(len(document) for document in ids)
    found = measure(a.base, a.tuned, ids, a.layer, a)

    def line(side, more=""):
        times = found["seconds"][side]
        return f"  {side:5} {total / min(times):8.0f} tokens/s (best of {' '.join(f'{time:.2f}' for time in times)} s{more})"

    best, middle = ratios(found)
    print(
        f"{a.name}: {total} tokens, layer {a.layer}, {a.dtype}, {a.device}, {a.threads} threads",
        line("xd"),
        line("torch", f"; {found['setting']}"),
        f"  ratio {best:.2f} of the best runs, {middle:.2f} of the medians; largest difference of the rows {found['worst']:.1e} standard deviations",
        sep="\n",
        flush=True,
    )


if __name__ == "__main__":
    torch_side(sys.argv[2:]) if sys.argv[1] == "torch" else main()
