"""Rows with structure and a crosscoder that half knows them, by seed: what bench/train and bench/scaling run on.

A row is a sparse combination of feature directions plus noise: 40 of D / 2 features are active on the average, with frequencies that
differ by two orders of magnitude and magnitudes of 0.5 to 2; the tuned model's directions are turned by about 0.2 against the base's; every
twentieth feature is the base's alone and every twentieth the tuned model's. The crosscoder has one latent a feature, and for the
other half latents that stand between two features; biases let a latent fire when its feature is there. So activity is as sparse and as
uneven as in the middle of a training, from the first step on.
"""

import torch
from safetensors.torch import save_file

ACTIVE = 40.0
NOISE = 0.1
TURN = 0.2


def unit(vectors):
    return vectors / vectors.norm(dim=-1, keepdim=True)


def directions(features, width, generator):
    """[2, F, d]: of the base and of the tuned model; a feature that a model has not is nearly 0 there."""
    base = unit(torch.randn(features, width, generator=generator))
    tuned = unit(base + TURN * unit(torch.randn(features, width, generator=generator)))
    both = torch.stack([base, tuned])
    both[0, 0::20] *= 0.02
    both[1, 10::20] *= 0.02
    return both


def frequencies(features, generator):
    """[F], adding up to ACTIVE."""
    drawn = torch.rand(features, generator=generator) ** 1.5 + 0.01
    return (drawn * ACTIVE / drawn.sum()).clamp(max=0.5)


def rows(both, count, generator, chunk=2048):
    """[N, 2, d]."""
    _, features, width = both.shape
    often = frequencies(features, generator)
    offset = 0.3 * torch.randn(2 * width, generator=generator)
    flat = both.transpose(0, 1).reshape(features, 2 * width)
    found = torch.empty(count, 2 * width)
    for start in range(0, count, chunk):
        part = found[start : start + chunk]
        fires = torch.rand(len(part), features, generator=generator) < often
        code = fires * (0.5 + 1.5 * torch.rand(len(part), features, generator=generator))
        torch.mm(code, flat, out=part)
        part += offset + NOISE * torch.randn(part.shape, generator=generator)
    return found.reshape(count, 2, width)


def crosscoder(both, latents):
    """The published tensors: encoder.weight [2, d, D], encoder.bias [D], decoder.weight [2, D, d], decoder.bias [2, d]."""
    _, features, width = both.shape
    between = (both + both.roll(7, dims=1))[:, : latents - features] / 2**0.5
    decoder = torch.cat([both, between], dim=1)
    bias = torch.full((latents,), -0.8)
    bias[features:] = -1.2
    return {
        "encoder.weight": (decoder.transpose(1, 2) / 2).contiguous(),
        "encoder.bias": bias,
        "decoder.weight": decoder.contiguous(),
        "decoder.bias": torch.zeros(2, width),
    }


def write(folder, width, latents, count, seed=0, threshold=None):
    """rows.safetensors and a folder `start` with the crosscoder; with a threshold it is one of BatchTopK in use."""
    generator = torch.Generator().manual_seed(seed)
    both = directions(latents // 2, width, generator)
    start = folder / "start"
    start.mkdir(parents=True, exist_ok=True)
    tensors = crosscoder(both, latents)
    kind = "CrossCoder"
    if threshold is not None:
        kind = "BatchTopKCrossCoder"
        tensors["threshold"] = torch.tensor(threshold)
        tensors["k"] = torch.tensor(100, dtype=torch.int32)
    save_file(tensors, start / "model.safetensors")
    (start / "config.json").write_text(f'{{"activation_dim": {width}, "dict_size": {latents}, "num_layers": 2}}\n')
    (start / "trainer_config.json").write_text(f'{{"trainer": {{"dict_class": "{kind}"}}}}\n')
    save_file({"rows": rows(both, count, generator)}, folder / "rows.safetensors")
    return folder / "rows.safetensors", start
