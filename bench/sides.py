"""Runs the two sides of a measurement as processes, one after the other."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

# glibc gives the pages of a large block back when it is freed and takes new ones when the next is made; this keeps them.
KEEP_PAGES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "MALLOC_TOP_PAD_": str(2**26)}


def run(command, threads, extra=None):
    """The JSON of the last line that a process prints."""
    counts = {name: str(threads) for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"]}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=os.environ | counts | (extra or {}))
    if done.returncode != 0:
        sys.exit(f"{' '.join(str(part) for part in command)}\n{done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def resident(name):
    """A size of this process in bytes by its name in /proc: `VmRSS:` now, `VmHWM:` the largest so far."""
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    return 0


def machine(threads):
    """Processor and versions, for the line under a table."""
    import torch

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {threads} of {os.cpu_count()} threads, torch {torch.__version__}"


def table(header, lines):
    """Markdown."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)
