"""Latent Scaling: xd against the published procedure in plain torch, the same crosscoder, rows and threads, in alternation.

    bench/scaling/run.sh [SIZE ..]               # makes an environment, builds xd, runs this
    compare.py [SIZE ..] [--threads 2] [--rounds 2]

All latents, all eight targets. Both sides are processes of their own; loading is in neither time. The betas must agree to 1e-4, absolutely or
relatively, whichever is larger; a latent that never fires has no beta on either side. Rounding can lift a score over the threshold of
BatchTopK on one side only; latents whose numbers of active tokens differ are counted, must be fewer than one in a thousand, and are
left out of the comparison.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sides

SIZES = {
    "relu": {"width": 256, "latents": 4096, "rows": 8192, "threshold": None},
    "threshold": {"width": 256, "latents": 4096, "rows": 8192, "threshold": 1.0},
    "small": {"width": 128, "latents": 2048, "rows": 4096, "threshold": None},
    # Of the paper's size, on few rows: for a card.
    "paper": {"width": 2304, "latents": 73_728, "rows": 1024, "threshold": None},
    "trial": {"width": 32, "latents": 512, "rows": 2048, "threshold": None},
    "trial-threshold": {"width": 32, "latents": 512, "rows": 2048, "threshold": 1.0},
}
DEFAULT = ["small", "relu", "threshold"]
TOLERANCE = 1e-4


def compare(name, xd, torch):
    """Checks both files of nine numbers a latent; the largest difference."""
    import numpy

    ours, theirs = (numpy.fromfile(file).reshape(-1, 9) for file in [xd, torch])
    same = ours[:, 8] == theirs[:, 8]
    if (~same).sum() > len(same) / 1000:
        sys.exit(f"{name}: the numbers of active tokens of {(~same).sum()} latents differ")
    ours, theirs = ours[same], theirs[same]
    fires = ours[:, 8] > 0
    if not fires.any() or numpy.isnan(ours[~fires, :8]).sum() != ours[~fires, :8].size:
        sys.exit(f"{name}: no latent fires, or one that does not has a beta")
    a, b = ours[fires, :8], theirs[fires, :8]
    differs = numpy.abs(a - b) / numpy.maximum(1.0, numpy.abs(b))
    if not differs.max() <= TOLERANCE:
        sys.exit(f"{name}: betas differ by {differs.max():.1e}")
    note = f"{fires.sum()} of {len(same)} latents fire; betas differ by {differs.max():.1e} at most; {(~same).sum()} left out"
    print(f"  {name}: {note}", file=sys.stderr)
    return differs.max()


def measure(name, size, a):
    """Rows of the table for one size."""
    import planted

    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        rows, crosscoder = planted.write(scratch, size["width"], size["latents"], size["rows"], threshold=size["threshold"])
        published = Path(__file__).with_name("published.py")
        commands = {"xd": [a.speed], "torch, published": [sys.executable, published]}
        end = ["--device", a.device]
        found = {side: [] for side in commands}
        for _ in range(a.rounds):
            for side, command in commands.items():
                extra = sides.KEEP_PAGES if side != "xd" else None
                found[side].append(sides.run([*command, rows, crosscoder, a.threads, scratch / side, *end], a.threads, extra))
            worst = compare(name, scratch / "xd", scratch / "torch, published")
    lines = []
    first = statistics.median(run["seconds"] for run in found["xd"])
    for side, runs in found.items():
        times = [run["seconds"] for run in runs]
        lines.append(
            [
                f"d={size['width']}, D={size['latents']:,}, {size['rows']:,} rows, {name}",
                side,
                f"{statistics.median(times):.2f} s ({' '.join(f'{time:.2f}' for time in times)})",
                f"{size['rows'] / statistics.median(times):,.0f}",
                f"{max(run['peak_bytes'] or 0 for run in runs) / 1e9:.2f} GB",
                f"{statistics.median(times) / first:.1f}",
                f"{worst:.0e}",
            ]
        )
    return lines


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", default=DEFAULT, metavar="SIZE", help=", ".join(SIZES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--speed", default="target/release/examples/scaling_speed")
    a = parser.parse_args()
    if unknown := [size for size in a.sizes if size not in SIZES]:
        parser.error(f"no size is called {unknown[0]}; there are {', '.join(SIZES)}")
    lines = [line for size in a.sizes for line in measure(size, SIZES[size], a)]
    header = ["size", "side", "time: median (each)", "rows/s", "peak memory", "times the first", "largest difference of a beta"]
    print(sides.table(header, lines))
    print(f"\n{sides.machine(a.threads)}; {a.rounds} rounds")


if __name__ == "__main__":
    main()
