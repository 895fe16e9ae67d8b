"""What tests of places share: jobs that leave notes, commands and clusters in processes of their own, and waiting for what they do."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from bench.grid.engine import jobs_of
from bench.question.plan import plan
from bench.question.suite import Settings, Suite

FAR = Path(__file__).with_name("far.py")
LIMIT = 90.0  # seconds that anything may take on a busy machine
ENGINES = {"dask": "distributed", "ray": "ray", "slurm": "dask_jobqueue"}


def need(engine):
    """Skip where an engine is not installed."""
    if importlib.util.find_spec(ENGINES[engine]) is None:
        pytest.skip(f"{engine} is not installed (extra `{engine}`)")


def wait_for(true, what, limit=LIMIT):
    begin = time.monotonic()
    while not (found := true()):
        assert time.monotonic() - begin < limit, f"waited {limit:g} s for {what}"
        time.sleep(0.05)
    return found


def is_alive(pid):
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def begun(notes):
    """(process, server, worker) of each beginning, in order."""
    files = sorted(notes.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return [tuple(map(int, path.name.split("-"))) for path in files]


def method(notes, name="Far", file=FAR, **options):
    chosen = ",".join(f"{key}={value}" for key, value in {"notes": str(notes).lstrip("/"), **options}.items())
    return f"{file}:{name}[{chosen}]"


def suite_of(*methods, seeds=(0,), **options):
    training = options.pop("training", {"epochs": 1, "batch_size": 128})
    return Suite("small", (Settings(("breast-cancer",), noise=(0.3,)),), methods=methods, seeds=seeds, training=training, **options)


def jobs(folder, *methods, **options):
    suite = suite_of(*methods, **options)
    (folder / "logs").mkdir(exist_ok=True)
    return jobs_of(suite, plan(suite), folder)


def run(place, job, report=lambda _: None, stopped=None):
    return place.run(job, report, stopped or threading.Event())


class Processes:
    """Commands that a test starts; their processes are ended at its end."""

    def __init__(self):
        self.started = []

    def start(self, *words, environment=None, **options):
        process = subprocess.Popen(
            [sys.executable, *map(str, words)], env={**os.environ, **(environment or {})}, start_new_session=True, **options
        )
        self.started.append(process)
        return process

    def bench(self, *words, environment=None):
        code = "from bench.cli import main; main()"
        return self.start("-c", code, *words, environment=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self):
        for process in self.started:
            for pid in [*below(process.pid), process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.communicate()


def below(pid):
    """The processes that a process started, and those that these started."""
    found = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text(encoding="ascii").split()):
                found += [*below(child), child]
    return found


class Cluster:
    """A dask scheduler with workers, started from a shell as a user would."""

    def __init__(self, processes, folder):
        self.processes, self.file = processes, folder / "scheduler.json"
        self.scheduler = self.dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        wait_for(self.file.exists, "the scheduler")
        self.workers = []

    def dask(self, what, *words, environment=None):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return self.processes.start("-m", "dask", what, "--scheduler-file", self.file, *words, environment=environment, **quiet)

    def worker(self, *words, environment=None):
        self.workers.append(self.dask("worker", "--nthreads", "1", "--no-dashboard", *words, environment=environment))
        return self.workers[-1]

    @property
    def name(self):
        return f"dask://{self.file}"
