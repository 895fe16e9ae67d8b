"""bench/grid/slots.py: each trial has a GPU, or its share of one, and a machine without any runs nothing. GPUs are ids that nobody has."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.grid import slots
from bench.grid.engine import execute
from bench.grid.how import How
from bench.grid.job import Job
from bench.grid.places import Local, base
from bench.grid.process import Ended, Lost, Stopped
from bench.grid.slots import Probed, Slots, gpus_for, named_gpus, read_listing, visible, working
from bench.grid.warm import ALWAYS, CHANNEL
from bench.methods.catalog import METHODS
from bench.question.machine import Limits, Machine
from bench.question.suite import Settings, Suite
from bench.records.database import Store

SUPPORT = Path(__file__).parents[1] / "support"
LISTING = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-11111111-aaaa)
  MIG 3g.20gb     Device  0: (UUID: MIG-c7384736-0001)
  MIG 3g.20gb     Device  1: (UUID: MIG-c7384736-0002)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-22222222-bbbb)
"""


def suite_of(*methods, device="cuda", seeds=(0,)):
    training = {"epochs": 1, "batch_size": 128}
    return Suite("small", (Settings(("breast-cancer",), noise=(0.3,)),), methods=methods, seeds=seeds, training=training, device=device)


@pytest.fixture
def told(monkeypatch):
    """The tasks of support/told.py; processes get this process's path."""
    monkeypatch.syspath_prepend(str(SUPPORT))
    import told

    return told


@pytest.fixture
def ask(told, tmp_path):
    """What a place gives for a task of support/told.py."""
    numbers = iter(range(1000))

    def one(place, kind="Tells", stopped=None, **options):
        task = getattr(told, kind)(limits=Limits(60.0, 4 * 10**9), log=tmp_path / f"{next(numbers)}.log", **options)
        return place.call(task, lambda _: None, stopped or threading.Event())

    return one


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("0,1", ("0", "1")),
        (" GPU-8932f937 , MIG-GPU-c7384736/1/0", ("GPU-8932f937", "MIG-GPU-c7384736/1/0")),
        ("1,-1,0", ("1",)),
        ("", ()),
        ("-1", ()),
        ("NoDevFiles", ()),
        ("0,,1", ("0",)),
        ("1,1", ()),
    ],
)
def test_the_variable_is_read_as_cuda_reads_it(text, ids, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
    assert visible() == named_gpus(text) == ids


def test_without_the_variable_the_listing_counts_and_mig_instances_replace_their_gpu(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTING}END\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert visible() == ("MIG-c7384736-0001", "MIG-c7384736-0002", "GPU-22222222-bbbb") == read_listing(LISTING)
    command.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    assert visible() == ()


def test_a_driver_that_hangs_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(slots, "LISTING", 0.2)
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\nexec sleep 30\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(UsageError, match=r"did not answer within 0.2 s.*--device cpu"):
        visible()


def test_a_numbered_device_is_that_gpu_alone(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b,c")
    assert gpus_for("cuda:1") == ("b",)
    assert gpus_for("auto") == gpus_for("cuda") == ("a", "b", "c")
    assert gpus_for("cpu") == ()
    with pytest.raises(UsageError, match=r"cuda:3 was asked for, and this machine offers 3 GPUs, cuda:0 to cuda:2"):
        gpus_for("cuda:3")


def test_as_many_run_at_once_as_gpus_take_unless_told(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b,c")
    assert [Local.of(None, Machine(device), 2).slots for device in ("cuda", "auto", "cuda:2")] == [6, 6, 2]
    assert Local.of(4, Machine("cuda"), 2).slots == 4
    monkeypatch.setattr(base, "cpu_count", lambda: 12)
    assert Local.of(None, Machine("cpu", threads=3), 2).slots == 4
    with pytest.raises(UsageError, match=r"per_gpu, .* at least 1, got 0"):
        Local(1, per_gpu=0)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True), st.integers(1, 3), st.lists(st.booleans(), max_size=40))
def test_all_gpus_are_handed_out_once_before_any_is_shared(ids, share, steps):
    found, held, never = Slots(ids, share), [], threading.Event()
    for takes in steps:
        if takes and len(held) < len(ids) * share:
            context = found.one(never)
            id_ = context.__enter__()
            counts = Counter(id_ for id_, _ in held)
            assert counts[id_] == min(counts[other] for other in ids) < share
            held.append((id_, context))
        elif held:
            held.pop(0)[1].__exit__(None, None, None)


def test_every_task_sees_one_gpu_and_no_gpu_has_more_than_its_share(ask, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b,c,d")
    place = Local(12, per_gpu=2)
    found = list(place.each(lambda _: ask(place, seconds=0.2), range(16), threading.Event()))
    assert {gpu for gpu, _, _ in found} == set("abcd")
    for gpu, begin, _ in found:
        assert sum(other == gpu and start <= begin < end for other, start, end in found) <= 2


def test_a_killed_task_gives_its_gpu_back(ask, told, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a")
    place, stopped = Local(1), threading.Event()
    threading.Timer(1.0, stopped.set).start()
    with pytest.raises(Stopped):
        ask(place, stopped=stopped, seconds=60.0)
    with pytest.raises(Ended, match="SIGSEGV"):
        ask(place, "Breaks", how="SIGSEGV")
    assert ask(place)[0] == "a"


def test_who_waits_for_a_gpu_stops_when_the_run_does(monkeypatch):
    found, stopped = Slots(["a"]), threading.Event()
    with found.one(stopped):
        stopped.set()
        with pytest.raises(Stopped), found.one(stopped):
            raise AssertionError("the GPU was handed out twice")


def test_a_task_for_the_cpu_sees_no_gpu(ask, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b")
    assert ask(Local(1), asks="cpu")[0] == ""


def test_a_job_on_a_gpu_asks_for_it_by_name_and_knows_how_many_share_it(tmp_path):
    job = Job(trial=None, limits=Limits(1, 1), machine=Machine("auto", 2), log=tmp_path / "log")
    assert job.on("GPU-1", 4).machine == Machine("cuda", 2, 4)
    assert job.on("GPU-1", 4).environment == {"CUDA_VISIBLE_DEVICES": "GPU-1"}
    assert job.on("").machine == Machine("cpu", 2)


def test_a_method_that_fits_itself_takes_no_gpu_and_says_cpu(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b")
    summary = execute(suite_of("constant", "gradient-boosting"), tmp_path)
    assert {(record.status, record.provenance.device, record.device) for record in summary.records} == {("done", "cpu", None)}


def test_a_shared_gpu_gives_each_trial_its_part_of_the_memory(monkeypatch):
    from bench.training import loop

    asked = []
    monkeypatch.setattr(loop, "resolve_device", lambda name: SimpleNamespace(type=name))
    monkeypatch.setattr(loop.torch.cuda, "set_per_process_memory_fraction", lambda share, device: asked.append((share, device.type)))
    for machine in (Machine("cuda", 1, 4), Machine("cuda"), Machine("cpu", 1, 4)):
        loop.device_of(machine)
    assert asked == [(0.25, "cuda")]


def test_nothing_that_the_fork_server_loads_asks_for_a_gpu(ask):
    """A process that has touched one cannot be forked: each of its children would fail."""
    modules = sorted({*ALWAYS, *(place.partition(":")[0] for place in METHODS.values())})
    code = (
        "import torch\n"
        "def refuse(*args, **kwargs): raise AssertionError('the fork server asked for a GPU')\n"
        "for name in ('is_available', 'device_count', 'init', '_lazy_init', 'current_device', 'get_device_properties', 'mem_get_info'):\n"
        "    setattr(torch.cuda, name, refuse)\n"
        "from bench.grid.warm import warm_up\n"
        "warm_up()\n"
        "print('loaded')"
    )
    wanted = json.dumps({"modules": modules, "datasets": ["digits"]})
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, CHANNEL: wanted}, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("loaded\n", 0), done.stderr
    assert ask(Local(1), "Touched") is False


def probed(monkeypatch, found):
    monkeypatch.setattr(slots, "probe", lambda id_: found[id_] if isinstance(found, dict) else found)


def test_a_gpu_that_does_not_work_is_left_out_and_said(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b,c")
    probed(monkeypatch, {"a": Probed(1), "b": Probed(0, True, "fallen off the bus"), "c": Probed(1)})
    said = []
    assert working("cuda", said.append) == ("a", "c")
    assert said == ["GPU b is left out, for it does not work: fallen off the bus"]


def test_auto_computes_on_the_cpu_where_this_torch_cannot_use_what_is_there(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b")
    probed(monkeypatch, Probed(0, False, "torch 2 is built without GPUs"))
    said = []
    assert working("auto", said.append) == ()
    assert said == ["2 GPUs here, but torch 2 is built without GPUs: trials run on the CPU"]
    probed(monkeypatch, Probed(0, True, "CUDA unknown error"))
    with pytest.raises(UsageError, match="device auto was asked for, and no GPU works here: CUDA unknown error"):
        working("auto", said.append)


def test_where_nobody_lists_gpus_torch_is_asked_how_many_there_are(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(slots, "listed_gpus", tuple)
    probed(monkeypatch, Probed(3))
    assert working("cuda", print) == ("0", "1", "2")
    assert working("cuda:1", print) == ("1",)
    assert working("auto", print) == ()


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_machine_without_the_device_stores_nothing(device, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(UsageError, match=rf"device {device} was asked for, and no GPU works here: .*--device cpu"):
        execute(suite_of("mean-mlp", "constant", device=device), tmp_path / "out", How(place=Local(2)))
    assert not (tmp_path / "out").exists()


def test_a_machine_without_the_device_adds_nothing_to_a_folder_and_still_shows_what_has_ended(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    execute(suite_of("mean-mlp", device="cpu"), tmp_path)
    with pytest.raises(UsageError, match="no GPU works here"):
        execute(suite_of("mean-mlp", seeds=(0, 1)), tmp_path)
    with Store(tmp_path, create=False) as store:
        assert list(store.statuses().values()) == ["done"]
        assert store.connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    assert execute(suite_of("mean-mlp"), tmp_path).reused == 1


def test_a_command_on_a_machine_without_the_device_ends_with_2(tmp_path):
    command = [sys.executable, "-m", "bench", "run", "--methods", "mean-mlp", "--datasets", "breast-cancer", "--noise", "0.3"]
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run([*command, "--device", "cuda", "--out", str(tmp_path / "out")], capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert "Error: device cuda was asked for, and no GPU works here" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", ["gone", "driver", "disk", "packed", "SIGKILL", "SIGTERM", "SIGHUP"])
def test_a_fault_of_the_machine_is_told_from_one_of_the_task(how, ask):
    with pytest.raises(Lost):
        ask(Local(1), "Breaks", asks="cpu", how=how)


@pytest.mark.parametrize("how", ["assertion", "files", "absent", "SIGSEGV", "SIGABRT"])
def test_a_fault_of_the_task_is_no_fault_of_the_machine(how, ask):
    with pytest.raises(Ended) as found:
        ask(Local(1), "Breaks", asks="cpu", how=how)
    assert not isinstance(found.value, Lost)


def test_a_gpu_that_broke_is_handed_out_no_more_and_without_any_the_run_stops(ask, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b")
    probed(monkeypatch, {"a": Probed(0, True, "gone"), "b": Probed(1)})
    place = Local(1)
    with pytest.raises(Lost):
        ask(place, "Breaks", how="driver")
    assert [ask(place)[0] for _ in range(3)] == ["b", "b", "b"]
    probed(monkeypatch, Probed(0, True, "gone"))
    with pytest.raises(UsageError, match=r"no GPU of this machine works any more, the last was b: gone; .* the same command goes on"):
        ask(place, "Breaks", how="driver")
    with pytest.raises(UsageError, match="no GPU of this machine works any more"):
        ask(place)


def test_what_the_machine_failed_stays_planned_and_the_same_command_runs_it(tmp_path):
    outside = SUPPORT / "outside.py"
    flag = tmp_path / "killed"
    mine = tmp_path / "once.py"
    mine.write_text(
        outside.read_text()
        + f"\n\nclass Once(Mine):\n    def on_epoch(self, epoch, epochs):\n        if not os.path.exists({str(flag)!r}):\n"
        f"            open({str(flag)!r}, 'w').close()\n            os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    suite = suite_of(f"{mine}:Once", "constant", device="cpu")
    first = execute(suite, tmp_path / "out")
    assert (first.ran, len(first.lost), first.interrupted, first.failed) == (1, 1, False, [])
    assert first.lost[0].reason.startswith("killed from outside by signal SIGKILL")
    with Store(tmp_path / "out", create=False) as store:
        planned = next(record for record in store.records() if record.trial.method.endswith("Once"))
    assert (planned.status, planned.reason) == ("planned", first.lost[0].reason)
    second = execute(suite, tmp_path / "out")
    assert (second.ran, second.reused, second.lost) == (1, 1, [])
    assert {record.status for record in second.records} == {"done"}


def test_a_command_says_what_was_lost_and_ends_with_1(tmp_path):
    mine = tmp_path / "lost.py"
    mine.write_text(
        (SUPPORT / "outside.py").read_text() + "\n\nclass Dies(Mine):\n    def on_epoch(self, *_):\n        os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-m", "bench", "run", "--methods", f"{mine}:Dies", "--datasets", "breast-cancer", "--noise", "0.3"]
    done = subprocess.run([*command, "--seeds", "0", "--out", str(tmp_path / "out"), "-q"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "lost to the machine, 1 trial: killed from outside by signal SIGKILL" in done.stderr
    assert "the same command runs them again" in done.stderr
