"""Harvest throughput: xd against transformers on the CPU, the same models, ids, layer, threads, in alternation.

    bench/harvest/run.sh                 # makes an environment, builds xd, fetches Gemma, runs this for both pairs
    compare.py NAME BASE TUNED TEXTS.jsonl LAYER TOKENS CONTEXT [--threads 2] [--rounds 5] [--speed PATH]

Both sides get the ids of the same documents, run both models of the pair up to the layer and no further, batched by length, and
hand over f32 rows [N, 2, d]. torch: the model is cut to the layers that are needed (no later block, no final norm, no head), no cache,
inference mode; every attention it has and several batch sizes are tried first, and the fastest runs in the alternation. It leaves its
rows in memory. xd: the whole harvest, with the shuffle, the checksums and the writing and syncing of the shards. Loading is in neither. The rows are compared.
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

BATCHES = [128, 256, 512, 1024, 2048, 8192]


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


def cut(folder, layer, attention):
    """The blocks 0 to layer of a model, without its final norm."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention).model.eval()
    model.layers = model.layers[: layer + 1]
    model.config.num_hidden_layers = layer + 1
    model.norm = torch.nn.Identity()
    return model


def torch_rows(models, ids, batch):
    """Rows [N, 2, d] in the order of the text."""
    import torch

    starts = [0]
    for document in ids:
        starts.append(starts[-1] + len(document))
    rows = torch.empty(starts[-1], 2, models[0].config.hidden_size)
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    while order:
        longest = len(ids[order[0]])
        members, order = order[: max(1, batch // longest)], order[max(1, batch // longest) :]
        padded = torch.zeros(len(members), longest, dtype=torch.long)
        for row, member in enumerate(members):
            padded[row, : len(ids[member])] = torch.tensor(ids[member])
        for m, model in enumerate(models):
            hidden = model(input_ids=padded, use_cache=False).last_hidden_state
            for row, member in enumerate(members):
                rows[starts[member] : starts[member + 1], m] = hidden[row, : len(ids[member])]
    return rows


def torch_side(arguments):
    """A process of its own: prints the seconds of one pass after a short warm-up."""
    import torch

    folders, ids_file, layer, threads, attention, batch, save = arguments[:2], *arguments[2:]
    torch.set_num_threads(int(threads))
    ids = json.load(open(ids_file))
    with torch.inference_mode():
        models = [cut(folder, int(layer), attention) for folder in folders]
        torch_rows(models, ids[: max(8, len(ids) // 20)], int(batch))
        start = time.perf_counter()
        rows = torch_rows(models, ids, int(batch))
        seconds = time.perf_counter() - start
    if save != "-":
        rows.numpy().tofile(save)
    print(json.dumps({"seconds": seconds}))


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return None, done.stderr.strip().splitlines()[-1:]
    return json.loads(done.stdout.strip().splitlines()[-1]), None


def difference(folder, torch_file, ids):
    """Largest difference of a row's number, over the standard deviation of all numbers."""
    import numpy

    index = json.load(open(folder / "train" / "index.json"))
    width = index["width"]
    wanted = numpy.fromfile(torch_file, dtype=numpy.float32).reshape(-1, 2, width)
    starts = numpy.concatenate([[0], numpy.cumsum([len(document) for document in ids])])
    worst = 0.0
    for shard in index["shards"]:
        rows = numpy.fromfile(folder / "train" / f"{shard['name']}.rows", dtype=numpy.float32).reshape(-1, 2, width)
        info = (folder / "train" / f"{shard['name']}.info").read_bytes()
        records = [struct.unpack_from("<III", info, 24 * row) for row in range(len(rows))]
        at = [starts[sequence] + position for _, position, sequence in records]
        worst = max(worst, float(numpy.abs(rows - wanted[at]).max()))
    return worst / float(wanted.std())


def main():
    parser = argparse.ArgumentParser()
    for name in ["name", "base", "tuned", "texts"]:
        parser.add_argument(name)
    for name in ["layer", "tokens", "context"]:
        parser.add_argument(name, type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--speed", default="target/release/examples/harvest_speed")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        ids = documents(a.base, a.texts, a.tokens, a.context)
        total = sum(len(document) for document in ids)
        ids_file, rows_file = scratch / "ids.json", scratch / "torch.f32"
        ids_file.write_text(json.dumps(ids))
        few_file = scratch / "few.json"
        few_file.write_text(json.dumps(ids[: max(8, len(ids) // 4)]))

        def torch_run(attention, batch, file, save="-"):
            command = [sys.executable, __file__, "torch", a.base, a.tuned, file, a.layer, a.threads, attention, batch, save]
            return run([str(part) for part in command])

        def xd_run(folder):
            command = [a.speed, a.base, a.tuned, ids_file, a.layer, a.threads, folder]
            return run([str(part) for part in command])

        settings = {}
        for attention in ["sdpa", "eager"]:
            for batch in BATCHES:
                found, problem = min((torch_run(attention, batch, few_file) for _ in range(2)), key=lambda run: run[0]["seconds"] if run[0] else 0)
                print(f"  torch {attention} {batch}:", "refused" if problem else f"{found['seconds']:.2f} s on a quarter", flush=True)
                if problem:
                    break
                settings[attention, batch] = found["seconds"]
        attention, batch = min(settings, key=settings.get)
        seconds = {"xd": [], "torch": []}
        for number in range(a.rounds):
            out = scratch / f"xd{number}"
            for side, found in [("xd", xd_run(out)), ("torch", torch_run(attention, batch, ids_file, rows_file))]:
                if found[1]:
                    sys.exit(f"{side}: {found[1]}")
                seconds[side].append(found[0]["seconds"])
        best = {side: min(times) for side, times in seconds.items()}
        middle = {side: statistics.median(times) for side, times in seconds.items()}

        def line(side, more=""):
            times = " ".join(f"{time:.2f}" for time in seconds[side])
            return f"  {side:5} {total / best[side]:8.0f} tokens/s (best of {times} s{more})"

        print(
            f"{a.name}: {total} tokens, layer {a.layer}, {a.threads} threads",
            line("xd"),
            line("torch", f"; {attention}, batches of {batch} tokens"),
            f"  ratio {best['torch'] / best['xd']:.2f} of the best runs, {middle['torch'] / middle['xd']:.2f} of the medians; "
            f"largest difference of the rows {difference(out, rows_file, ids):.1e} standard deviations",
            sep="\n",
            flush=True,
        )


if __name__ == "__main__":
    torch_side(sys.argv[2:]) if sys.argv[1] == "torch" else main()
