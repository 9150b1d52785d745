"""A run that is killed half way and goes on: the command `python etl.py`, `kill -9`, and the same command again.

At the end what the second process says is compared with what must be so, and with what plain Python computes.
"""

import re
import subprocess
import sys
import tempfile

import etl


def run(folder: str, *, kill_after: int = sys.maxsize) -> tuple[list[str], str, str]:
    """Run the job, kill it when it has begun so many chunks; return these, its result, and what it said of itself."""
    command = [sys.executable, etl.__file__]
    begun, result = [], ""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        for line in job.stdout or ():
            if line.startswith("measure "):
                begun.append(line.strip())
            else:
                result = line.strip()
            if len(begun) == kill_after:
                job.kill()
        return begun, result, job.stderr.read().strip() if job.stderr else ""


def show(folder: str) -> bool:
    files = etl.list_files()
    starts = range(0, len(files), etl.CHUNK)
    print(f"The standard library of {etl.LIBRARY.name}: {len(files):,} files in {len(starts)} chunks.")

    first, interrupted, _ = run(folder, kill_after=len(starts) // 2)
    print(f"python etl.py: killed (kill -9) when it had begun {len(first)} chunks.")
    second, result, said = run(folder)
    print(f"python etl.py: {said}")
    print(f"It began {len(second)} chunks, of which {len({*first} & {*second})} had been at work when it was killed.")
    print(result)

    answered = int((re.search(r"(\d+) finished step", said) or ["", "0"])[1]) - 1  # one of them had listed the files
    plain = etl.add_up([{file: etl.measure_file(file) for file in files}])
    checks = {
        "the first process was killed half way": len(first) < len(starts) and not interrupted,
        "each chunk answers from the store or is measured now": answered > 0 and answered + len(second) == len(starts),
        "only what was at work when it was killed runs again": len({*first} & {*second}) <= 4,
        "the result is the one of plain Python": result == str(plain),
    }
    for what, holds in checks.items():
        print(f"{'yes' if holds else 'NO '}  {what}")
    return all(checks.values())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(0 if show(temporary) else 1)
