"""How fast M3Care and MUSE train here and in the public library imml 0.6.0, on the same cells. Prints JSON.

    python benchmarks/peers.py --peer PATH/TO/python [--rounds 5] [--epochs 4] [--datasets digits,breast-cancer] [--batch 128]

`--peer` is the Python of an environment of its own that holds `imml[deep]==0.6.0`; without imml there, or without `--peer`, the reason is
printed and nothing is timed. The cells are those of a trial: embedded real data, mcar(0.3), seed 0, a missing modality as zeros here and
as NaN there. Both train the same sizes: a two-layer perceptron and a linear layer a modality, width 128, each method's published
settings, batches of equal size, one thread. Trainings take turns, here, there, here, there; the first epoch of each is left out,
validation after each epoch is included. Seconds are those that the process computed (CPU), so that other programs count less. imml trains
twice: `trainer`, as its documentation says (a DataLoader and lightning's Trainer), and `steps`, a plain loop over batches that are ready,
which charges it for its arithmetic alone. Compare ratios of one run, by their median over rounds: times are of this machine at this
moment. `spread` is the largest over the smallest time that one side took for the same work: a ratio says no more than it allows.

Not the same: imml validates by a loss, this suite by scores of every row, and it keeps a copy of the best state. imml's M3Care encodes
placeholders, where here they enter behind the encoder; it has a layer norm in each fusion block and runs phi twice a modality; here
neighbours in validation are 128 support rows, encoded once an epoch. Parameters of both are printed. MUSE's batch norm is replaced by the
perceptron.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

VERSION = "0.6.0"
PEERS = {"m3care": "M3Care", "muse": "MUSE"}  # our names, imml's classes
WIDTH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="Python of the environment that holds imml")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4, help="of each training, the first left out")
    parser.add_argument("--datasets", default="digits,breast-cancer")
    parser.add_argument("--batch", type=int, default=128)
    options = parser.parse_args()
    if options.rounds < 1 or options.epochs < 2 or options.batch < 2:
        parser.error(
            f"--rounds must be at least 1, --epochs and --batch at least 2, got {options.rounds}, {options.epochs} and {options.batch}"
        )
    reason = "no --peer was given" if options.peer is None else absent(options.peer)
    if reason:
        sys.stdout.write(json.dumps({"skipped": f"imml {VERSION} is not compared: {reason}"}, indent=2) + "\n")
        return
    with tempfile.TemporaryDirectory() as folder, Peer(options.peer) as peer:
        found: dict[str, Any] = {"versions": {"here": versions(), "peer": peer.versions}, "batch": options.batch, "ratios": []}
        for dataset in options.datasets.split(","):
            for method in PEERS:
                found["ratios"].append(compared(method, dataset, peer, Path(folder), options))
                sys.stderr.write(json.dumps(found["ratios"][-1]) + "\n")  # what is timed is told at once
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


def absent(python: str) -> str:
    """Why imml cannot be asked through this Python, or nothing."""
    code = f"import imml; assert imml.__version__ == '{VERSION}', imml.__version__; assert imml.deepmodule_installed, imml.deepmodule_error"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{python} does not start ({error.strerror})"
    return "" if done.returncode == 0 else f"{python} says {(done.stderr.strip().splitlines() or ['nothing'])[-1]}"


def versions() -> dict[str, str]:
    import torch

    return {"torch": torch.__version__, "python": sys.version.split()[0]}


def compared(method: str, dataset: str, peer: Peer, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Times of both, in turns, and their ratio in each round."""
    ours = Ours(method, dataset, options.batch, options.epochs)
    file = ours.written(folder / f"{dataset}.npz")
    asked = {"method": PEERS[method], "file": str(file), "batch": options.batch, "epochs": options.epochs}
    seconds: dict[str, list[float]] = {"here": [], "trainer": [], "steps": []}
    parameters: dict[str, int] = {}
    for _ in range(options.rounds):
        seconds["here"].append(ours.seconds())
        for way in ("trainer", "steps"):
            told = peer.ask({**asked, "way": way})
            seconds[way].append(statistics.median(told["seconds"]))
            parameters = {"here": ours.parameters, "peer": told["parameters"]}
    each = {f"{who}_us_per_sample_and_epoch": round(1e6 * statistics.median(times) / ours.rows, 1) for who, times in seconds.items()}
    ratios = {way: [there / here for there, here in zip(seconds[way], seconds["here"], strict=True)] for way in ("trainer", "steps")}
    shown = {
        f"{way}_over_here": {"median": round(statistics.median(found), 2), "range": [round(min(found), 2), round(max(found), 2)]}
        for way, found in ratios.items()
    }
    spread = {who: round(max(times) / min(times), 2) for who, times in seconds.items()}
    return {"method": method, "dataset": dataset, "rows": ours.rows, "parameters": parameters, **each, **shown, "spread": spread}


class Ours:
    """A trial of this suite, trained by the loop that all methods share."""

    def __init__(self, method: str, dataset: str, batch: int, epochs: int) -> None:
        import torch

        from bench.question.plan import plan
        from bench.question.suite import Settings, Suite
        from bench.training.opened import open_trial

        torch.set_num_threads(1)
        training = {"epochs": epochs, "batch_size": batch, "width": WIDTH, "tokens": 1}
        settings = Settings((dataset,), noise=(0.3,))
        self.trial = next(trial for trial in plan(Suite("peers", (settings,), methods=(method,), seeds=(0,), training=training)))
        self.opened = open_trial(self.trial, test=False)
        self.rows = len(self.opened.parts.train)
        self.parameters = 0  # known after a training

    def seconds(self) -> float:
        """Median time of an epoch with its validation, without the first."""
        import torch

        from bench.training.loop import build_method, fit_to_best

        cpu, ends = torch.device("cpu"), [0.0]
        method = build_method(self.opened.cls, self.opened.config, self.opened.parts.train.samples, self.trial.seed, cpu)
        self.parameters = sum(parameter.numel() for parameter in method.parameters())
        fit_to_best(method, self.opened.config, self.opened.parts, self.trial, cpu, lambda reached: ends.append(time.process_time()), None)
        return statistics.median(np.diff(ends[1:]))

    def written(self, path: Path) -> Path:
        """The same cells for the other environment: values, zeros where not observed; which are observed; targets."""
        arrays = {}
        for part in ("train", "valid"):
            samples = getattr(self.opened.parts, part).samples
            arrays |= {f"{part}_{m}": np.nan_to_num(samples.values[name]) for m, name in enumerate(samples.schema.names)}
            arrays |= {f"{part}_observed": samples.observed, f"{part}_target": samples.target}
        np.savez(path, **arrays)
        return path


class Peer:
    """This file, run by the other environment's Python: a line of JSON asks for a training, a line answers."""

    def __init__(self, python: str) -> None:
        self.process = subprocess.Popen([python, __file__, "--worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.versions = self.answer()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Raises: RuntimeError if the other side has ended; its own error stands above on stderr."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer ended with exit code {self.process.wait()}")
        return json.loads(line)


def worker() -> None:
    """The other side: knows imml and torch, and nothing of this suite."""
    import logging
    import os
    import warnings

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    import imml
    import lightning
    import torch

    torch.set_num_threads(1)
    told: dict[str, Any] = {"imml": imml.__version__, "lightning": lightning.__version__, **versions()}
    while True:
        answers.write(json.dumps(told) + "\n")
        answers.flush()
        line = sys.stdin.readline()
        if not line:
            return
        told = theirs(**json.loads(line))


def theirs(method: str, file: str, batch: int, epochs: int, way: str) -> dict[str, Any]:
    """Seconds of each epoch with its validation, without the first, of imml's class trained in one of two ways, and its parameters."""
    import imml.classify
    import imml.load
    import torch
    from torch import nn
    from torch.utils.data import DataLoader

    torch.manual_seed(0)
    arrays = np.load(file)
    modalities = arrays["train_observed"].shape[1]

    def rows(part: str) -> Any:
        values = [arrays[f"{part}_{m}"].astype(np.float32) for m in range(modalities)]
        hidden = [np.where(arrays[f"{part}_observed"][:, [m]], x, np.float32(np.nan)) for m, x in enumerate(values)]
        found = getattr(imml.load, f"{method}Dataset")(Xs=hidden, y=arrays[f"{part}_target"])
        if method == "MUSE":  # rows of NaN would make its gradients NaN; what it does not observe it sets to zero later
            found.Xs = [x.nan_to_num() for x in found.Xs]
        return found

    widths = [arrays[f"train_{m}"].shape[1] for m in range(modalities)]
    encoders = [nn.Sequential(nn.Linear(w, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)) for w in widths]
    own = {"vocab": [None]} if method == "M3Care" else {}  # no text here: without a vocabulary it would ask to download one
    classes = int(arrays["train_target"].max()) + 1
    estimator = getattr(imml.classify, method)(
        input_dim=widths, hidden_dim=WIDTH, modalities=["tabular"] * modalities, output_dim=classes, extractors=encoders, **own
    )
    train, valid = DataLoader(rows("train"), batch_size=batch, shuffle=True), DataLoader(rows("valid"), batch_size=batch)
    seconds = trained(estimator, train, valid, epochs) if way == "trainer" else stepped(estimator, list(train), list(valid), epochs)
    return {"seconds": seconds, "parameters": sum(parameter.numel() for parameter in estimator.parameters())}


def trained(estimator: Any, train: Any, valid: Any, epochs: int) -> Sequence[float]:
    import lightning

    starts: list[float] = []

    class Clock(lightning.Callback):
        def on_train_epoch_start(self, *_: object) -> None:
            starts.append(time.process_time())

        def on_train_end(self, *_: object) -> None:
            starts.append(time.process_time())

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    lightning.Trainer(max_epochs=epochs, accelerator="cpu", callbacks=[Clock()], num_sanity_val_steps=0, **quiet).fit(
        estimator, train, valid
    )
    return np.diff(starts)[1:].tolist()


def stepped(estimator: Any, train: Sequence[Any], valid: Sequence[Any], epochs: int) -> Sequence[float]:
    import torch

    optimiser, seconds = estimator.configure_optimizers(), []
    for _ in range(epochs):
        begin = time.process_time()
        estimator.train()
        for place, batch in enumerate(train):
            optimiser.zero_grad()
            loss = estimator.training_step(batch, place)
            loss.backward()
            optimiser.step()
        if not torch.isfinite(loss):
            raise RuntimeError(f"imml's {type(estimator).__name__} reached a loss that is not finite, so its times say nothing")
        estimator.eval()
        with torch.no_grad():
            for place, batch in enumerate(valid):
                estimator.validation_step(batch, place)
        seconds.append(time.process_time() - begin)
    return seconds[1:]


if __name__ == "__main__":
    worker() if sys.argv[1:] == ["--worker"] else main()
