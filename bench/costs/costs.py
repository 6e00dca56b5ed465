"""What xd's training and analyses cost against tokens, latents, width, k, batch, threads and sweep points, and how well `xd plan` says so.

    bench/costs/run.sh [--quick] [--refit] [--rounds 2] [--out FOLDER]
    costs.py --xd XD --figure FIGURE ...

Each point is a file of its own: a synthetic pair, a crosscoder, its classes and Latent Scaling, run by `xd run` into an empty store. The
manifest says what each step was predicted to take and what it took; the speeds of the machine are measured by `xd doctor` before each
run. Everything goes into cost_laws.csv, a table of the laws is printed, and cost_laws.svg shows measured and predicted time at multiples of
the middle point. `--refit` fits the constants ENCODE to SYNTHETIC of src/lang/plan/effort.rs to what was measured, and writes them there: least squares of
the relative error, drawn a little towards the constants in force, so that what these points cannot tell apart stays as it is. Build and run
again to see them at work.
"""

import argparse
import csv
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

EFFORT = "src/lang/plan/effort.rs"
MIDDLE = {"loss": "batch_topk", "width": 128, "latents": 2048, "k": 32, "batch": 1024, "steps": 150, "threads": None, "points": 1, "features": None, "resamples": 200}
HELD_OUT = 8192
SCALED = 16_384
# Groups that are drawn for the intervals of Latent Scaling, and active latents a token of L1, as the plan takes them.
GROUPS, L1_ACTIVE = 256, 64
# Weight of a constant in force against one measured point.
PRIOR = 0.05

FILE = """xd 1
pair toy = synthetic(width = {width}, shared = {shared}, weak = 8, base_only = 8, tuned_only = 8, active = 16)
activations acts {{
  of       = toy
  train    = {tokens} tokens
  validate = {held_out} tokens
}}
crosscoder cc for train.seed in [{seeds}] {{
  on        = acts
  latents   = {latents}
  loss      = {loss}
  init.norm = 0.3
  train {{
    batch     = {batch} tokens
    length    = {steps} steps
    optimizer = adam(lr = 1e-3, warmup = 10 steps)
  }}
}}
classify classes {{ of = cc }}
scaling nu {{
  of        = cc
  tokens    = {scaled} tokens
  intervals = {resamples}
}}
expect trained = cc.fve > -100
expect classified = count(classes.latent >= 0) > 0
expect scaled = count(nu.latent >= 0) > 0
"""
COLUMNS = ["law", "loss", "width", "latents", "k", "batch", "steps", "threads", "points", "features", "resamples", "kind", "round"]
COLUMNS += ["tokens", "device_flops", "device_bandwidth", "predicted_seconds", "measured_seconds"]


def laws(quick):
    """Name of the law, the field that changes, its values, and what else differs from the middle."""
    cores = os.cpu_count() or 1
    counts = [count for count in [1, 2, 4, 8, 16, 32] if count <= cores]
    found = [
        ("tokens", "steps", [50, 100, 200, 400, 800], {}),
        ("latents", "latents", [512, 1024, 2048, 4096, 8192], {}),
        ("width", "width", [32, 64, 128, 256, 512], {}),
        ("k", "k", [8, 16, 32, 64, 128], {}),
        ("batch", "batch", [256, 512, 1024, 2048, 4096], {}),
        ("features", "features", [64, 280, 1024, 2048], {}),
        ("resamples", "resamples", [1, 200, 1000], {}),
        ("threads", "threads", counts, {}),
        ("sweep points", "points", [1, 2, 4], {}),
        ("latents, L1", "latents", [512, 1024, 2048, 4096], {"loss": "l1", "steps": 100}),
        ("width, L1", "width", [64, 128, 256], {"loss": "l1", "steps": 100}),
    ]
    if quick:
        found = [(law, field, values[:2], more | {"steps": 20} if field != "steps" else more) for law, field, values, more in found]
    return found


def xd(a, arguments, threads):
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads or os.cpu_count())}
    done = subprocess.run([a.xd, *map(str, arguments)], capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(f"xd {' '.join(map(str, arguments))}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}")
    return done.stdout


def measure(a, law, point, number):
    """One run: a row for each kind of step."""
    features = point["features"] or 2 * point["width"] + 24
    loss = "l1(weight = 3e-2)" if point["loss"] == "l1" else f"batch_topk(k = {point['k']}, threshold_from = 10 steps)"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cost.xd"
        fields = {"shared": features - 24, "seeds": ", ".join(map(str, range(point["points"]))), "loss": loss}
        fields |= {"tokens": point["steps"] * point["batch"], "held_out": HELD_OUT, "scaled": SCALED}
        file.write_text(FILE.format_map(point | fields))
        device = json.loads(xd(a, ["doctor", "--format", "json", "--store", f"{folder}/store"], point["threads"]))
        xd(a, ["run", file, "--store", f"{folder}/store", "--out", f"{folder}/out"], point["threads"])
        steps = json.loads((Path(folder) / "out" / "manifest.json").read_text())["steps"]
    rows = []
    for kind in ["crosscoder", "classify", "scaling"]:
        taken = [step for step in steps if step["kind"] == kind]
        total = {side: sum(step[side]["seconds"] for step in taken) for side in ["predicted", "measured"]}
        tokens = sum(step["tokens"] for step in taken)
        speeds = {"device_flops": device["flops"], "device_bandwidth": device["bandwidth"]}
        row = point | {"law": law, "features": features, "kind": kind, "round": number, "tokens": tokens} | speeds
        row |= {f"{side}_seconds": seconds for side, seconds in total.items()}
        rows.append(row | {"threads": point["threads"] or os.cpu_count()})
    return rows


def counts(row):
    """What each constant of effort.rs is multiplied by, in seconds."""
    flops, bandwidth = row["device_flops"], row["device_bandwidth"]
    d, latents, points = row["width"], row["latents"], row["points"]
    features = row["features"] + d

    active = row["k"] if row["loss"] == "batch_topk" else L1_ACTIVE

    def of_pass(rows):
        entries = 32 * d * active * rows / bandwidth
        return {"PASS": 4 * d * latents * rows / flops, "ROW": 2 * d * rows / flops, "SYNTHETIC": features * rows / flops, "ENTRIES": entries}

    if row["kind"] == "classify":
        found = of_pass(HELD_OUT)
    elif row["kind"] == "scaling":
        rows = min(SCALED, row["steps"] * row["batch"])
        groups = min(GROUPS, rows * active / latents)
        found = of_pass(rows) | {"INTERVALS": row["resamples"] * latents * groups / flops}
        found["TARGETS"] = found.pop("ENTRIES")
    else:
        rows = row["steps"] * row["batch"]
        found = of_pass(HELD_OUT)
        found["SYNTHETIC"] += features * rows / flops
        found |= {"STEP": row["steps"] / flops, "WEIGHTS": 96 * d * latents * row["steps"] / bandwidth}
        encode = 4 * d * latents * rows / flops
        if row["loss"] == "l1":
            found["L1"] = encode
        else:
            found |= {"ENCODE": encode, "SCORES": 4 * latents * rows / bandwidth}
            found["ENTRIES"] += 32 * d * active * rows / bandwidth
    return {name: points * seconds for name, seconds in found.items()}


def in_force():
    """The constants as they are."""
    text = Path(EFFORT).read_text()
    return {name: float(value) for name, value in re.findall(r"pub const (\w+): f64 = ([^;]+);", text)}


def fit(rows):
    """The constants that are least wrong, relatively, and not negative: coordinate descent on the normal equations, with a point of weight
    PRIOR a constant that says what it was."""
    names = ["ENCODE", "SCORES", "ENTRIES", "WEIGHTS", "STEP", "L1", "PASS", "ROW", "TARGETS", "INTERVALS", "SYNTHETIC"]
    prior = in_force()
    # Each constant as a multiple of what it was.
    lines = [[counts(row).get(name, 0.0) * prior[name] / row["measured_seconds"] for name in names] for row in rows]
    found = [1.0] * len(names)
    for _ in range(20_000):
        for i in range(len(names)):
            square = sum(line[i] ** 2 for line in lines) + PRIOR
            rest = sum(line[i] * (1 - sum(f * v for f, v in zip(found, line)) + found[i] * line[i]) for line in lines) + PRIOR
            found[i] = max(0.0, rest / square)
    return {name: value * prior[name] for name, value in zip(names, found)}


def write_constants(found, path):
    text = Path(path).read_text()
    for name, value in found.items():
        number = f"{value:.2e}".replace("e+0", "e").replace("e+", "e") if value >= 1000 else f"{value:.3f}"
        text, times = re.subn(rf"(pub const {name}: f64 = )[^;]+;", rf"\g<1>{number};", text)
        if times != 1:
            sys.exit(f"{path} has no constant {name}")
    Path(path).write_text(text)


def together(rows):
    """One row a point and kind: the least time of its rounds (neighbours only add), the median of the predictions; the machine's speeds are
    the medians over all runs with as many threads."""
    groups, speeds = {}, {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in COLUMNS[:COLUMNS.index("round")]), []).append(row)
        speeds.setdefault(row["threads"], []).append(row)

    def median(of, column):
        return statistics.median(row[column] for row in of)

    found = []
    for group in groups.values():
        row = group[0] | {"measured_seconds": min(row["measured_seconds"] for row in group)}
        row["predicted_seconds"] = median(group, "predicted_seconds")
        for column in ["device_flops", "device_bandwidth"]:
            row[column] = median(speeds[row["threads"]], column)
        found.append(row)
    return found


def table(rows, a):
    """Markdown: one line a point."""
    print("| law | value | kind | measured | predicted | predicted / measured |\n| --- | --- | --- | --- | --- | --- |")
    fields = {law: field for law, field, _, _ in laws(a.quick)}
    for row in rows:
        ratio = row["predicted_seconds"] / row["measured_seconds"]
        line = [row["law"], row[fields[row["law"]]], row["kind"], f"{row['measured_seconds']:.3f} s", f"{row['predicted_seconds']:.3f} s", f"{ratio:.2f}"]
        print("| " + " | ".join(map(str, line)) + " |")
    for kind in ["crosscoder", "classify", "scaling"]:
        ratios = sorted(row["predicted_seconds"] / row["measured_seconds"] for row in rows if row["kind"] == kind)
        near = sum(1 / 1.3 <= ratio <= 1.3 for ratio in ratios)
        print(f"\n{kind}: predicted / measured {ratios[0]:.2f} to {ratios[-1]:.2f}, median {statistics.median(ratios):.2f}; {near} of {len(ratios)} within 30 %")


def figure(rows, a):
    """The frame of the figure (names, types, rows) and the figure itself."""
    fields = {law: field for law, field, _, _ in laws(a.quick)}
    base = {law: MIDDLE[field] or {"features": 2 * MIDDLE["width"] + 24}.get(field, 1) for law, field in fields.items()}
    lines = [["law", "factor", "time", "seconds"], ["text", "real", "text", "real"]]
    for row in rows:
        if row["kind"] == ("scaling" if row["law"] == "resamples" else "crosscoder"):
            for side in ["measured", "predicted"]:
                lines.append([row["law"], row[fields[row["law"]]] / base[row["law"]], side, row[f"{side}_seconds"]])
    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder) / "frame.csv"
        with open(frame, "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)
        subprocess.run([a.figure, frame, a.out / "cost_laws.svg"], check=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="two values a law and short trainings: does it run?")
    parser.add_argument("--refit", action="store_true", help=f"write the fitted constants into {EFFORT}")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("target/bench-costs"), help="folder of cost_laws.csv and cost_laws.svg")
    parser.add_argument("--xd", default="target/release/xd")
    parser.add_argument("--figure", default="target/release/examples/cost_figure")
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(a.rounds):
        for law, field, values, more in laws(a.quick):
            for value in values:
                rows += measure(a, law, MIDDLE | more | {field: value}, number)
                print(f"  round {number}, {law} {value}: {rows[-3]['measured_seconds']:.2f} s", file=sys.stderr, flush=True)
    with open(a.out / "cost_laws.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    found = together(rows)
    table(found, a)
    figure(found, a)
    constants = fit(found)
    print("\nfitted: " + ", ".join(f"{name} {value:.3g}" for name, value in constants.items()))
    if a.refit:
        write_constants(constants, EFFORT)


if __name__ == "__main__":
    main()
