"""How long a user waits before anything happens.

    python benchmarks/startup.py --quick

What takes the time, import by import:

    python -X importtime -c "import superalign_env" 2>&1 | sort -t '|' -k 2 -n | tail
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from timing import last_line, table

IMPORT = """
import sys, time
start = time.perf_counter()
import superalign_env
print(time.perf_counter() - start, int("torch" in sys.modules))
"""
HELP = "import sys; from superalign_env.cli import main; sys.argv[1:] = ['--help']; main()"


def python(code: str) -> tuple[str, float]:
    """Return what a fresh interpreter prints, and its wall time in seconds."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout, time.perf_counter() - start


def import_seconds() -> float:
    """Return the time of ``import superalign_env`` itself, without the interpreter's."""
    return float(python(IMPORT)[0].split()[0])


def main() -> None:
    """Print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="5 runs each instead of 25")
    times = 5 if parser.parse_args().quick else 25
    rows: dict[str, Callable[[], float]] = {
        "bare interpreter": lambda: python("pass")[1],
        "import superalign_env": import_seconds,
        "superalign --help": lambda: python(HELP)[1],
    }
    medians, shown = {}, []
    for name, measure in rows.items():
        measure()  # writes bytecode and warms the file cache
        seconds = [measure() for _ in range(times)]
        medians[name] = statistics.median(seconds)
        shown.append(
            (name, *[f"{s:.3f}" for s in (medians[name], min(seconds), max(seconds))])
        )
    table("Seconds until something happens", shown, ("", "median", "low", "high"))
    last_line(
        {
            "import_s": medians["import superalign_env"],
            "help_s": medians["superalign --help"],
            "import_loads_torch": float(python(IMPORT)[0].split()[1]),
        }
    )


if __name__ == "__main__":
    main()
