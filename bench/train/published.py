"""The published training step in plain torch, eager and dense: the torch side of compare.py.

    published.py ROWS.safetensors START CONFIG.json VARIANT [--device cpu]

Written from the formulas in docs/method.md 1.1, 1.3 and 1.4. Shapes: B rows of a batch, m models (2), d width, D latents.

Variants. `published`: f32, the weights in their published layout, Adam as torch has it by default. `tuned`: f32, the weights of both models
in one matrix [2d, D] and [D, 2d], fused Adam (compare.py also sets the allocator to keep its pages). For CUDA: `tf32` is `tuned`
with TF32 products, `bf16` is `tuned` with bf16 autocast and torch.compile.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sides import resident

VARIANTS = ["published", "tuned", "tf32", "bf16"]
THRESHOLD_BETA = 0.999


class Published(torch.nn.Module):
    """Weights as published: encoder [m, d, D], decoder [m, D, d]."""

    def __init__(self, start):
        super().__init__()
        self.encoder = torch.nn.Parameter(start["encoder.weight"])
        self.encoder_bias = torch.nn.Parameter(start["encoder.bias"])
        self.decoder_bias = torch.nn.Parameter(start["decoder.bias"])
        self.decoder = torch.nn.Parameter(start["decoder.weight"])

    def encode(self, x):
        return torch.relu(torch.einsum("bmd,mdf->bf", x, self.encoder) + self.encoder_bias)

    def spell(self, f):
        """What the latents write, without the bias [B, m, d]."""
        return torch.einsum("bf,mfd->bmd", f, self.decoder)

    def scales(self):
        """||d_j^base|| + ||d_j^tuned||, [D]."""
        return self.decoder.norm(dim=2).sum(dim=0)

    def bias(self):
        return self.decoder_bias


class Tuned(torch.nn.Module):
    """The same with one matrix for both models: encoder [2d, D], decoder [D, 2d]."""

    def __init__(self, start):
        super().__init__()
        models, self.width, latents = start["encoder.weight"].shape
        both = models * self.width
        self.encoder = torch.nn.Parameter(start["encoder.weight"].reshape(both, latents))
        self.encoder_bias = torch.nn.Parameter(start["encoder.bias"])
        self.decoder_bias = torch.nn.Parameter(start["decoder.bias"].reshape(both))
        self.decoder = torch.nn.Parameter(start["decoder.weight"].transpose(0, 1).reshape(latents, both).contiguous())

    def encode(self, x):
        return torch.relu(torch.addmm(self.encoder_bias, x.flatten(1), self.encoder))

    def spell(self, f):
        return (f @ self.decoder).unflatten(1, (2, self.width))

    def scales(self):
        return self.decoder.unflatten(1, (2, self.width)).norm(dim=2).sum(dim=1)

    def bias(self):
        return self.decoder_bias.unflatten(0, (2, self.width))


def distance(x, hhat):
    """Mean over rows and models of ||eps||, not squared."""
    return (x - hhat).norm(dim=2).mean()


def l1_loss(model, x, weight):
    """Reconstruction + weight * mean over rows of sum_j f_j S_j. Returns loss, L0."""
    f = model.encode(x)
    sparsity = (f * model.scales()).sum(dim=1).mean()
    loss = distance(x, model.spell(f) + model.bias()) + weight * sparsity
    return loss, (f > 0).sum() / len(x)


def top_k_loss(model, x, k, aux, idle, dead_after):
    """BatchTopK with AuxK. Returns loss, L0, the smallest kept score; counts in `idle` the rows since a latent fired."""
    f = model.encode(x)
    scores = f * model.scales()
    kept = scores.detach().flatten().topk(k * len(x), sorted=False).indices
    code = torch.zeros_like(f).flatten().scatter(0, kept, f.flatten().gather(0, kept)).view_as(f)
    hhat = model.spell(code) + model.bias()
    loss = distance(x, hhat)
    with torch.no_grad():
        idle += len(x)
        idle[(code > 0).any(dim=0)] = 0
        dead = idle >= dead_after
        positive = (code * model.scales())[code > 0]
        least = positive.min() if len(positive) else torch.zeros((), device=x.device)
        count = int(dead.sum())
    if count > 0:
        loss = loss + aux * auxiliary(model, f, scores, dead, count, (x - hhat).detach())
    return loss, (code > 0).sum() / len(x), least


def auxiliary(model, f, scores, dead, count, error):
    """Dead latents write the error that is left: min(d / 2, dead) a row."""
    among = torch.where(dead, scores.detach(), -torch.inf)
    kept = among.topk(min(error.shape[2] // 2, count), dim=1, sorted=False).indices
    code = torch.zeros_like(f).scatter(1, kept, f.gather(1, kept))
    left = (error - model.spell(code)).flatten(1).square().sum(dim=1).mean()
    e = error.flatten(1)
    return (left / (e - e.mean(dim=0)).square().sum(dim=1).mean()).nan_to_num(0.0)


@torch.no_grad()
def geometric_median(x):
    """Of the rows of each model [m, d], by Weiszfeld's algorithm."""
    guess = x.double().mean(dim=0)
    for _ in range(100):
        near = 1.0 / (x - guess).norm(dim=2, keepdim=True).clamp(min=1e-12)
        better = (near * x).sum(dim=0) / near.sum(dim=0)
        moved = (better - guess).norm(dim=1).max()
        guess = better
        if moved < 1e-5:
            break
    return guess.float()


class Training:
    """Model, optimiser and what is counted along the way."""

    def __init__(self, start, config, variant, device):
        torch.backends.cuda.matmul.allow_tf32 = variant in ("tf32", "bf16")
        self.config, self.autocast, self.device = config, variant == "bf16", device
        self.model = (Published if variant == "published" else Tuned)(start).to(device)
        settings = {} if variant == "published" else {"fused": True}
        self.adam = torch.optim.Adam(self.model.parameters(), lr=config["rate"], **settings)
        self.idle = torch.zeros(len(self.model.encoder_bias), dtype=torch.long, device=device)
        self.threshold, self.steps = -1.0, 0
        self.forward = torch.compile(self.loss) if variant == "bf16" else self.loss

    def loss(self, x):
        config = self.config
        if config["loss"] == "l1":
            return *l1_loss(self.model, x, config["weight"]), None
        return top_k_loss(self.model, x, config["k"], config["aux"], self.idle, config["dead_after"])

    def step(self, x):
        """Loss and L0 before the step, on the device."""
        top = self.config["loss"] != "l1"
        if self.steps == 0 and top:
            self.model.decoder_bias.data.copy_(geometric_median(x).view_as(self.model.decoder_bias))
        with torch.autocast(self.device, torch.bfloat16, enabled=self.autocast):
            loss, l0, least = self.forward(x)
        self.adam.zero_grad()
        loss.backward()
        if top:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            old = self.threshold
            self.threshold = least if self.steps == 0 else THRESHOLD_BETA * old + (1 - THRESHOLD_BETA) * least
        self.adam.step()
        self.steps += 1
        return loss.detach(), l0


def product_ms(x, encoder, synchronize, dtype=torch.float32):
    """The encoder product alone, best of five; weights [m, d, D] or [2d, D]. Without TF32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    flat, weights = x.flatten(1).to(dtype), encoder.detach().reshape(-1, encoder.shape[-1]).to(dtype)
    out, best = torch.empty(len(flat), weights.shape[1], device=x.device, dtype=dtype), float("inf")
    for _ in range(5):
        synchronize()
        begun = time.perf_counter()
        torch.mm(flat, weights, out=out)
        synchronize()
        best = min(best, time.perf_counter() - begun)
    return 1000 * best


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rows")
    parser.add_argument("start")
    parser.add_argument("config")
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    bare = resident("VmRSS:")
    config = json.load(open(a.config))
    torch.set_num_threads(config["threads"])
    rows = load_file(a.rows)["rows"].to(a.device)
    training = Training(load_file(f"{a.start}/model.safetensors"), config, a.variant, a.device)
    synchronize = torch.cuda.synchronize if a.device == "cuda" else lambda: None
    batch, ms, losses, l0 = config["batch"], [], [], []
    for number in range(config["steps"]):
        first = number * batch % len(rows)
        synchronize()
        begun = time.perf_counter()
        loss, active = training.step(rows[first : first + batch])
        synchronize()
        ms.append(1000 * (time.perf_counter() - begun))
        losses.append(float(loss))
        l0.append(float(active))
    peak = torch.cuda.max_memory_allocated() if a.device == "cuda" else resident("VmHWM:") - bare
    found = {"ms": ms, "losses": losses, "l0": l0, "peak_bytes": peak}
    found["product_ms"] = product_ms(rows[:batch], training.model.encoder, synchronize)
    if a.device == "cuda":
        found["bf16_product_ms"] = product_ms(rows[:batch], training.model.encoder, synchronize, torch.bfloat16)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
