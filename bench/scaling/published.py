"""Latent Scaling as published, in plain torch: the torch side of compare.py.

    published.py ROWS.safetensors CROSSCODER THREADS OUT [--device cpu]

Written from the formulas in docs/method.md 4: for a target y and the fitted direction d_j = d_j^tuned,

    beta_j = ( d_j . sum_i f_ij y_i ) / ( ||d_j||^2 sum_i f_ij^2 ).

One pass over the rows a target, and every pass encodes them again, densely. The three targets that all latents share (the activation, with and
without the decoder bias, and the reconstruction) take a dense product [D, B] by [B, d] a batch; the error without the latent is a target
of each latent's own, y_ij = eps_i + f_ij d_j^m, and is made for a chunk of latents at a time, [B, L, d]. Batches of 128 rows, sums in f64.
"""

import json
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sides import resident

BATCH = 128
# Numbers of the targets of a chunk of latents: 32 MiB; on a card 1 GiB.
CHUNK_NUMBERS = 1 << 23


class Crosscoder:
    """encoder [2, d, D], decoder [2, D, d], and the threshold on f_j S_j of BatchTopK, if there is one."""

    def __init__(self, folder, device):
        tensors = load_file(f"{folder}/model.safetensors", device=device)
        self.encoder, self.encoder_bias = tensors["encoder.weight"], tensors["encoder.bias"]
        self.decoder, self.decoder_bias = tensors["decoder.weight"], tensors["decoder.bias"]
        self.threshold = tensors.get("threshold")
        self.scales = self.decoder.norm(dim=2).sum(dim=0)

    def encode(self, x):
        f = torch.relu(torch.einsum("bmd,mdf->bf", x, self.encoder) + self.encoder_bias)
        return f if self.threshold is None else f * (f * self.scales > self.threshold)

    def decode(self, f):
        return torch.einsum("bf,mfd->bmd", f, self.decoder) + self.decoder_bias


def shared_target(crosscoder, rows, target):
    """sum_i f_ij (d_j . y_i), sum_i f_ij^2 and the number of active tokens, each [D]: one pass."""
    d = crosscoder.decoder[1]
    sums = torch.zeros(d.shape, dtype=torch.float64, device=d.device)
    squares = torch.zeros(len(d), dtype=torch.float64, device=d.device)
    active = torch.zeros(len(d), dtype=torch.long, device=d.device)
    for x in rows.split(BATCH):
        f = crosscoder.encode(x)
        sums += f.T @ target(x, f)
        squares += f.square().sum(dim=0)
        active += (f > 0).sum(dim=0)
    return (d * sums).sum(dim=1), squares, active


def own_target(crosscoder, rows, model):
    """The same for the error of a model without the latent."""
    d, own = crosscoder.decoder[1], crosscoder.decoder[model]
    sums, squares = (torch.zeros(len(d), dtype=torch.float64, device=d.device) for _ in range(2))
    numbers = CHUNK_NUMBERS * (32 if d.is_cuda else 1)
    chunk = max(1, numbers // (BATCH * d.shape[1]))
    for x in rows.split(BATCH):
        f = crosscoder.encode(x)
        error = (x - crosscoder.decode(f))[:, model]
        squares += f.square().sum(dim=0)
        for first in range(0, len(d), chunk):
            part = slice(first, first + chunk)
            y = error[:, None, :] + f[:, part, None] * own[part]
            sums[part] += torch.einsum("bl,bld,ld->l", f[:, part], y, d[part])
    return sums, squares


def betas(crosscoder, rows):
    """[D, 9]: the betas of the eight targets and the number of active tokens."""
    length = crosscoder.decoder[1].double().square().sum(dim=1)
    columns = []
    targets = [
        lambda x, f, m: x[:, m],
        lambda x, f, m: x[:, m] - crosscoder.decoder_bias[m],
        lambda x, f, m: crosscoder.decode(f)[:, m],
    ]
    for target in targets:
        for model in range(2):
            sums, squares, active = shared_target(crosscoder, rows, lambda x, f: target(x, f, model))
            columns.append(sums / (squares * length))
    for model in range(2):
        sums, squares = own_target(crosscoder, rows, model)
        columns.append(sums / (squares * length))
    return torch.stack([*columns, active.double()], dim=1)


def main():
    rows, folder, threads, out, *rest = sys.argv[1:]
    device = rest[1] if rest[:1] == ["--device"] else "cpu"
    bare = resident("VmRSS:")
    torch.set_num_threads(int(threads))
    rows, crosscoder = load_file(rows, device=device)["rows"], Crosscoder(folder, device)
    with torch.inference_mode():
        begun = time.perf_counter()
        found = betas(crosscoder, rows).cpu()
        seconds = time.perf_counter() - begun
    found.numpy().tofile(out)
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else resident("VmHWM:") - bare
    print(json.dumps({"seconds": seconds, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
