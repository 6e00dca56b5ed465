"""Measures and checks xd on an NVIDIA card, beside torch on the same card: run.sh runs this.

    compare.py [--binaries DIR] [--self-test] [--rounds 2] [--minutes 9] [--only PART ..] [--scratch DIR] [--out results.json]

Parts, in this order; parts and sizes that would begin after --minutes are left out, and said to be:

    tests       the tests that need a card, where the test program was carried along (bench/cuda/carry.sh)
    repeat      the same training twice: the same losses and weights, to the bit
    steps       1,000 steps on the card against the CPU
    train       xd's step, torch's as published (eager, f32), torch with bf16 autocast, TF32, torch.compile and fused Adam: bench/train
    scaling     Latent Scaling of all latents against the published procedure: bench/scaling
    harvest     bf16 models of published shapes against transformers with SDPA, stopped at the same layer: bench/harvest
    sanitizer   a short training and a short pass under compute-sanitizer, where it is on the PATH

With --self-test everything runs on the CPU at tiny sizes and nothing that is printed is a measurement: it shows that this script works.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(BENCH), str(BENCH / "harvest")]

import sides

# Of the training that is compared with the CPU's: the largest relative difference of the losses of the first steps, and of the mean loss of the
# last 100. In between rounding may have sent the two apart: which of two latents that are nearly alike fires is decided by it.
FIRST_STEPS, FIRST_TOLERANCE, LAST_TOLERANCE = 50, 1e-3, 1e-2
# Of harvested rows in bf16, over their standard deviation: the root of the mean square by which two libraries may be apart.
ROWS_TOLERANCE = 2e-2


def load(folder):
    """compare.py of another folder of bench."""
    spec = importlib.util.spec_from_file_location(f"{folder}_compare", BENCH / folder / "compare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


train, scaling, harvest = load("train"), load("scaling"), load("harvest")


class Run:
    """What all parts need, and what they found."""

    def __init__(self, a):
        self.a = a
        self.begun = time.monotonic()
        self.device = "cpu" if a.self_test else "cuda"
        self.found = {}
        self.failures = []

    def program(self, name):
        folder = self.a.binaries or BENCH.parent / "target/release/examples"
        return Path(folder) / name

    def settings(self, **more):
        """The arguments that bench/train and bench/scaling take."""
        common = {"threads": self.a.threads, "rounds": self.a.rounds, "device": self.device}
        return argparse.Namespace(**(common | more))

    def expect(self, holds, what):
        print(f"  {'ok    ' if holds else 'FAILED'} {what}", flush=True)
        if not holds:
            self.failures.append(what)

    def in_time(self, names):
        """Those of the names that begin before the time is spent; the others are said to be left out."""
        for name in names:
            spent = (time.monotonic() - self.begun) / 60
            if spent < self.a.minutes:
                yield name
            else:
                print(f"\n{name}: LEFT OUT, {spent:.1f} of {self.a.minutes} minutes are spent", flush=True)
                self.failures.append(f"{name} was left out")

    def train(self, rows, start, config, device):
        return sides.run([self.program("train_speed"), rows, start, config, "--device", device], self.a.threads)


@contextlib.contextmanager
def planted_rows(size, batches):
    """A folder with rows and a crosscoder of a size of bench/train."""
    import planted

    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        yield scratch, *planted.write(scratch, size["width"], size["latents"], size["batch"] * batches)


def tests(run):
    """The tests of the card, by the test program itself: it runs without cargo."""
    program = run.program("cuda_tests")
    if not program.exists():
        return f"SKIPPED: {program} is not there (bench/cuda/carry.sh makes it)"
    # In a self-test they skip loudly, each for itself.
    command = [str(program), "card::", "--nocapture"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=BENCH.parent)
    said = (done.stdout + done.stderr).strip().splitlines()
    skipped = [line for line in said if "SKIPPED" in line]
    print("\n".join(f"  {line[:300]}" for line in said[-40:]))
    run.expect(done.returncode == 0, f"the tests of the card end with {done.returncode}")
    run.expect(bool(skipped) == run.a.self_test, f"{len(skipped)} tests of the card were skipped")


def repeat(run):
    """Twice the same."""
    for name in ["trial-auxk", "trial-l1"]:
        settings = train.SIZES[name] | {"steps": 30}
        with planted_rows(settings, 12) as (scratch, rows, start):
            config = train.setting(scratch, settings, run.a.threads)
            once, again = (run.train(rows, start, config, run.device) for _ in range(2))
        run.expect(once["weights"] == again["weights"] and once["losses"] == again["losses"], f"{name}: twice the same bits")


def steps(run):
    """The card against the CPU over many steps."""
    count = 120 if run.a.self_test else 1000
    for name in ["trial-k8", "trial-auxk", "trial-l1"]:
        settings = train.SIZES[name] | {"steps": count, "rate": 1e-3}
        with planted_rows(settings, 40) as (scratch, rows, start):
            config = train.setting(scratch, settings, run.a.threads)
            card, cpu = (run.train(rows, start, config, device)["losses"] for device in [run.device, "cpu"])
        first = train.difference(card[:FIRST_STEPS], cpu[:FIRST_STEPS])
        last = train.difference([statistics.mean(card[-100:])], [statistics.mean(cpu[-100:])])
        run.found[f"steps {name}"] = {"first": first, "last": last, "steps": count}
        run.expect(cpu[-1] < cpu[0], f"{name}: {count} steps learn something: {cpu[0]:.4f} to {cpu[-1]:.4f}")
        run.expect(first <= FIRST_TOLERANCE, f"{name}: losses of the first {FIRST_STEPS} steps differ by {first:.1e} at most ({FIRST_TOLERANCE:.0e})")
        run.expect(last <= LAST_TOLERANCE, f"{name}: the mean of the last 100 differs by {last:.1e} ({LAST_TOLERANCE:.0e})")


def training(run):
    """Both sides of a training step; sizes of one shape share rows and weights."""
    shapes = [["trial-k8", "trial-l1"]] if run.a.self_test else [["small-k32", "small-l1"], ["paper-k100", "paper-l1"]]
    lines = []
    for names in shapes:
        # Loading and compiling take longer than the steps of the largest size: one round.
        rounds = 1 if names[0].startswith("paper") else run.a.rounds
        settings = run.settings(speed=run.program("train_speed"), variants=["published", "bf16"], rounds=rounds)
        size = train.SIZES[names[0]]
        with planted_rows(size, size.get("steps", train.STEPS)) as (scratch, rows, start):
            for name in run.in_time(names):
                with kept_going(run, name):
                    lines += train.measure_on(scratch, rows, start, name, train.SIZES[name], settings)
                    print(sides.table(TRAIN_HEADER, lines[-3:]), flush=True)
    run.found["train"] = lines
    return sides.table(TRAIN_HEADER, lines)


TRAIN_HEADER = ["size", "side", "tokens/s", "ms/step: median (least)", "peak memory", "times the first", "share of the limit"]
SCALING_HEADER = ["size", "side", "time: median (each)", "rows/s", "peak memory", "times the first", "largest difference of a beta"]


def latent_scaling(run):
    """Both sides of Latent Scaling."""
    names = ["trial", "trial-threshold"] if run.a.self_test else ["relu", "threshold", "paper"]
    settings = run.settings(speed=run.program("scaling_speed"))
    lines = []
    for name in run.in_time(names):
        with kept_going(run, name):
            lines += scaling.measure(name, scaling.SIZES[name], settings)
    run.found["scaling"] = lines
    return sides.table(SCALING_HEADER, lines)


HARVEST_HEADER = ["shape", "side", "time: median (each)", "tokens/s", "peak memory", "times the first", "difference of the rows"]


def harvesting(run):
    """Both sides of a harvest, by models of published shapes with random weights."""
    try:
        import transformers  # noqa: F401
    except ImportError as problem:
        return f"SKIPPED: {problem}"
    import torch

    import shapes

    if run.a.self_test:
        names, tokens, tries = ["trial"], 4_000, [("sdpa", 2048)]
    else:
        names, tokens, tries = ["llama3.2_1b", "gemma3_4b"], 400_000, harvest.TRIES["cuda"]
    settings = run.settings(speed=run.program("harvest_speed"), dtype="bf16", scratch=run.a.scratch, tries=tries)
    ids = shapes.documents(tokens, 1024)
    total = sum(len(document) for document in ids)
    lines = []
    for name in run.in_time(names):
        with kept_going(run, name), tempfile.TemporaryDirectory(dir=run.a.scratch) as scratch:
            layer = shapes.SHAPES[name]["layer"]
            folders = [Path(scratch) / side for side in ["base", "tuned"]]
            for seed, folder in enumerate(folders):
                shapes.write(folder, name, seed, run.device)
            if run.device == "cuda":
                torch.cuda.empty_cache()
            found = harvest.measure(*folders, ids, layer, settings)
            apart = f"{found['mean']:.0e} of their deviation, {found['worst']:.0e} at most"
            print(f"  {name}: torch {found['setting']}", flush=True)
            run.expect(found["mean"] <= ROWS_TOLERANCE, f"{name}: rows of both sides differ by {apart} ({ROWS_TOLERANCE:.0e})")
            first = statistics.median(found["seconds"]["xd"])
            for side, times in found["seconds"].items():
                middle = statistics.median(times)
                each = " ".join(f"{time:.2f}" for time in times)
                called = side if side == "xd" else "transformers, SDPA"
                memory = f"{found['peaks'][side] / 1e9:.2f} GB"
                cells = [f"{name}, layer {layer}, {total:,} tokens, bf16", called, f"{middle:.2f} s ({each})", f"{total / middle:,.0f}"]
                lines.append([*cells, memory, f"{middle / first:.2f}", apart])
    run.found["harvest"] = lines
    return sides.table(HARVEST_HEADER, lines)


def sanitizer(run):
    """No reads or writes outside of arrays, no races in shared memory."""
    program = shutil.which("compute-sanitizer")
    if program is None or run.a.self_test:
        return "SKIPPED: " + ("compute-sanitizer is not on the PATH" if program is None else "there is no card in a self-test")
    for name in ["trial-auxk", "trial-l1"]:
        settings = train.SIZES[name] | {"steps": 4}
        with planted_rows(settings, 4) as (scratch, rows, start):
            config = train.setting(scratch, settings, run.a.threads)
            for tool in ["memcheck", "racecheck", "synccheck"]:
                command = [program, "--tool", tool, "--error-exitcode", "9", run.program("train_speed"), rows, start, config, "--device", "cuda"]
                done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
                if done.returncode != 0:
                    print("\n".join((done.stdout + done.stderr).strip().splitlines()[-30:]))
                run.expect(done.returncode == 0, f"compute-sanitizer {tool} on {name} ends with {done.returncode}")


@contextlib.contextmanager
def kept_going(run, name):
    """A size that fails is said and the next one runs: a card is not had every day."""
    try:
        yield
    except (SystemExit, OSError, ValueError, KeyError) as problem:
        run.expect(False, f"{name}: {problem!r}")


PARTS = {
    "tests": tests,
    "repeat": repeat,
    "steps": steps,
    "train": training,
    "scaling": latent_scaling,
    "harvest": harvesting,
    "sanitizer": sanitizer,
}


def machine(run):
    """The card and the versions."""
    lines = [sides.machine(run.a.threads)]
    if shutil.which("nvidia-smi"):
        fields = "name,driver_version,memory.total,clocks.max.sm,power.limit"
        said = subprocess.run(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"], capture_output=True, text=True)
        lines.append(f"nvidia-smi ({fields}): {said.stdout.strip()}")
    if run.device == "cuda":
        import torch

        lines.append(f"torch's CUDA {torch.version.cuda}, {torch.cuda.get_device_name(0)}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binaries", help="a folder with train_speed, scaling_speed, harvest_speed and perhaps cuda_tests")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--scratch", help="where models and shards of the harvest are written: 20 GB; /dev/shm, say, where the disk is slow")
    parser.add_argument("--out", help="also write what was found there, as JSON")
    a = parser.parse_args()
    a.rounds = a.rounds or (1 if a.self_test else 2)
    run = Run(a)
    if a.self_test:
        # A step at these sizes takes less than its compilation.
        os.environ["TORCH_COMPILE_DISABLE"] = "1"
        print("SELF-TEST on the CPU at tiny sizes: no number below is a measurement of a card\n")
    else:
        import torch

        if not torch.cuda.is_available():
            sys.exit("torch finds no card; `--self-test` tries the script on the CPU")
    print(machine(run), flush=True)
    for name in run.in_time(a.only):
        print(f"\n{name} ({(time.monotonic() - run.begun) / 60:.1f} minutes so far)", flush=True)
        with kept_going(run, name):
            said = PARTS[name](run)
            if said:
                print(said, flush=True)
    if a.out:
        Path(a.out).write_text(json.dumps({"machine": machine(run), "found": run.found, "failures": run.failures}, indent=1))
    print(f"\n{(time.monotonic() - run.begun) / 60:.1f} minutes; " + (f"{len(run.failures)} FAILED: " + "; ".join(run.failures) if run.failures else "all held"))
    sys.exit(bool(run.failures))


if __name__ == "__main__":
    main()
