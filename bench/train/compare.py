"""Training throughput: xd against the published step in plain torch, the same weights, rows, batches and threads, in alternation.

    bench/train/run.sh [SIZE ..]                 # makes an environment, builds xd, runs this
    compare.py [SIZE ..] [--threads 2] [--rounds 3] [--device cpu]

For each size: every side runs as a process of its own, one after the other, round by round; the first steps of each are not counted (the
first one of BatchTopK finds the geometric median). The losses of every step must agree. A side's time is the median of all its counted steps.
The limit is the encoder product alone in f32, the faster of torch's and xd's in all rounds; on CUDA for the bf16 side that in bf16. Peak memory is the
largest resident size of the process beyond what it had before it read anything (so without torch's libraries). On CUDA: of torch what its allocator
gave out at most, of xd all that the process took of the card, with the context and the libraries.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sides

BATCH_TOPK = {"loss": "batch_topk", "weight": 0.0, "aux": 1 / 32, "dead_after": 10_000_000}
L1 = {"loss": "l1", "k": 0, "weight": 0.041, "aux": 0.0, "dead_after": 10_000_000}
SMALL = {"width": 512, "latents": 8192, "batch": 1024}
LARGE = {"width": 2304, "latents": 18_432, "batch": 2048}
PAPER = {"width": 2304, "latents": 73_728, "batch": 2048, "steps": 8}
TRIAL = {"width": 64, "latents": 1024, "batch": 256}
SIZES = {
    "small-k32": SMALL | BATCH_TOPK | {"k": 32},
    "small-k100": SMALL | BATCH_TOPK | {"k": 100},
    # Latents that have not fired for two batches count as dead, so that AuxK has work at once.
    "small-auxk": SMALL | BATCH_TOPK | {"k": 32, "dead_after": 2048},
    "small-l1": SMALL | L1,
    "large-k100": LARGE | BATCH_TOPK | {"k": 100, "steps": 5},
    # Of the paper's size, for a card.
    "paper-k100": PAPER | BATCH_TOPK | {"k": 100},
    "paper-l1": PAPER | L1,
    "trial-k8": TRIAL | BATCH_TOPK | {"k": 8},
    "trial-auxk": TRIAL | BATCH_TOPK | {"k": 8, "dead_after": 512},
    "trial-l1": TRIAL | L1,
}
DEFAULT = ["small-k32", "small-k100", "small-auxk", "small-l1", "large-k100"]
STEPS = 12
# Not counted at the start of each process.
WARM = 2
# Largest relative difference of the losses of a step, and of L0.
LOSS_TOLERANCE = 1e-4
L0_TOLERANCE = 1e-3
# The same where products are not in f32.
ROUNDED_TOLERANCE = 5e-2
CUDA_VARIANTS = ["published", "tuned", "tf32", "bf16"]


def difference(one, other):
    return max(abs(a - b) / max(abs(b), 1e-12) for a, b in zip(one, other, strict=True))


def measure(size, settings, a):
    """Rows of the table for one size."""
    import planted

    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        batches = settings["batch"] * settings.get("steps", STEPS)
        rows, start = planted.write(scratch, settings["width"], settings["latents"], batches)
        return measure_on(scratch, rows, start, size, settings, a)


def setting(scratch, settings, threads):
    """What both sides are told, as a file."""
    config = scratch / "config.json"
    config.write_text(json.dumps({"steps": STEPS, "rate": 1e-4, "threads": threads} | settings))
    return config


def measure_on(scratch, rows, start, size, settings, a):
    """Rows of the table for one size, on these rows from this crosscoder."""
    config = setting(scratch, settings, a.threads)
    published = [sys.executable, Path(__file__).with_name("published.py"), rows, start, config]

    def torch_side(variant):
        extra = sides.KEEP_PAGES if variant == "tuned" and a.device == "cpu" else None
        return sides.run([*published, variant, "--device", a.device], a.threads, extra)

    def xd_side():
        return sides.run([a.speed, rows, start, config, "--device", a.device], a.threads)

    runs = {"xd": xd_side} | {f"torch, {variant}": lambda variant=variant: torch_side(variant) for variant in a.variants}
    found = {side: [] for side in runs}
    for _ in range(a.rounds):
        for side, start_side in runs.items():
            found[side].append(start_side())
    agree(size, found)
    return rows_of(size, settings, found)


def agree(size, found):
    """Ends the program where the losses of a step differ."""
    first = next(iter(found))
    for side, all_runs in found.items():
        loss = max(difference(run["losses"], found[first][0]["losses"]) for run in all_runs)
        l0 = max(difference(run["l0"], found[first][0]["l0"]) for run in all_runs)
        print(f"  {size}, {side}: losses differ by {loss:.1e} at most, L0 by {l0:.1e}", file=sys.stderr)
        exact = side in ("xd", "torch, published", "torch, tuned")
        if not (loss <= (LOSS_TOLERANCE if exact else ROUNDED_TOLERANCE) and l0 <= (L0_TOLERANCE if exact else ROUNDED_TOLERANCE)):
            sys.exit(f"{size}: the losses of {side} are not those of {first}")


def rows_of(size, settings, found):
    ms = {side: [time for run in runs for time in run["ms"][WARM:]] for side, runs in found.items()}
    middle = {side: statistics.median(times) for side, times in ms.items()}
    told = {side: [run["product_ms"] for run in runs if "product_ms" in run] for side, runs in found.items()}
    limits = {side: min(times) for side, times in told.items() if times}
    limit = min(limits.values())
    rounded = [run["bf16_product_ms"] for runs in found.values() for run in runs if "bf16_product_ms" in run]
    flops = 4 * settings["width"] * settings["latents"] * settings["batch"]
    peak = max((run.get("peak_flops") or 0 for runs in found.values() for run in runs), default=0)
    of_peak = f", {flops / (limit / 1000) / peak:.0%} of the multiply-adds of {peak / 1e9:.0f} GFLOP/s" if peak else ""
    each = ", ".join(f"{side} {time:.1f}" for side, time in limits.items())
    print(f"  {size}: encoder product {limit:.1f} ms ({flops / limit / 1e6:.0f} GFLOP/s{of_peak}; {each})", file=sys.stderr)
    l0 = next(iter(found.values()))[0]["l0"][-1]
    first = middle[next(iter(found))]
    lines = []
    for side, time in middle.items():
        memory = max(run["peak_bytes"] or 0 for run in found[side])
        own_limit = min(rounded) if rounded and side == "torch, bf16" else limit
        tokens = 1000 * settings["batch"] / time
        lines.append(
            [
                f"d={settings['width']}, D={settings['latents']:,}, B={settings['batch']:,}, {size} (L0 {l0:.0f})",
                side,
                f"{tokens:,.0f}",
                f"{time:.1f} ({min(ms[side]):.1f})",
                f"{memory / 1e9:.2f} GB",
                f"{time / first:.2f}",
                f"{own_limit / time:.0%}",
            ]
        )
    return lines


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", default=DEFAULT, metavar="SIZE", help=", ".join(SIZES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--variants", nargs="+", default=None, choices=CUDA_VARIANTS)
    parser.add_argument("--speed", default="target/release/examples/train_speed")
    a = parser.parse_args()
    a.variants = a.variants or (CUDA_VARIANTS if a.device == "cuda" else CUDA_VARIANTS[:2])
    if unknown := [size for size in a.sizes if size not in SIZES]:
        parser.error(f"no size is called {unknown[0]}; there are {', '.join(SIZES)}")
    lines = [line for size in a.sizes for line in measure(size, SIZES[size], a)]
    header = ["size", "side", "tokens/s", "ms/step: median (least)", "peak memory", "times the first", "share of the limit"]
    print(sides.table(header, lines))
    print(f"\n{sides.machine(a.threads)}, {a.device}; {a.rounds} rounds")


if __name__ == "__main__":
    main()
