"""A real Slurm on this machine alone: daemons in a folder, one node, two cores, two devices that pass for GPUs.

It needs root and its packages.
"""

import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel")
CONF = """
ClusterName=ci
SlurmctldHost={host}
AuthType=auth/munge
CryptoType=crypto/munge
SlurmUser=root
SlurmctldPort={port}
SlurmdPort={other}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=5
JobRequeue=1
GresTypes=gpu
SchedulerParameters=batch_sched_delay=0,bf_interval=1
NodeName={host} CPUs=2 Boards=1 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 RealMemory=4000 Gres=gpu:2 State=UNKNOWN
PartitionName=ci Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def lack():
    """Why there can be no Slurm here; "" if there can."""
    path = os.environ["PATH"] + ":/usr/sbin"
    absent = [name for name in NEEDED if shutil.which(name, path=path) is None]
    if absent:
        return f"no Slurm: {', '.join(absent)} not installed"
    return "" if os.geteuid() == 0 else "no Slurm of our own: its daemons need root"


class Slurm:
    """Started on entry, ended by its process ids on exit; `conf` is what SLURM_CONF must name."""

    def __init__(self, folder):
        self.folder, self.conf, self.pids = Path(folder), Path(folder) / "slurm.conf", []

    def __enter__(self):
        host = socket.gethostname().partition(".")[0]
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        values = {"host": host, "port": free_port(), "other": free_port(), "folder": self.folder}
        self.conf.write_text(CONF.format(**values), encoding="utf-8")
        devices = "".join(f"NodeName={host} Name=gpu File=/dev/{name}\n" for name in ("zero", "full"))
        (self.folder / "gres.conf").write_text(devices, encoding="utf-8")
        self._munge()
        os.environ["SLURM_CONF"] = str(self.conf)
        for daemon in ("slurmctld", "slurmd"):
            subprocess.run([f"/usr/sbin/{daemon}", "-f", str(self.conf)], check=True, capture_output=True)
        end = time.monotonic() + 60
        while "idle" not in self.said("sinfo", "-h", "-o", "%T"):
            assert time.monotonic() < end, (self.folder / "slurmctld.log").read_text(encoding="utf-8")
            time.sleep(0.2)
        self.pids += [int((self.folder / f"{daemon}.pid").read_text(encoding="ascii")) for daemon in ("slurmctld", "slurmd")]
        return self

    def _munge(self):
        """The daemon that vouches for users, unless it runs already; it stays for others if it did."""
        if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
            return
        subprocess.run(["install", "-d", "-o", "munge", "-g", "munge", "-m", "755", "/run/munge"], check=True)
        user = ["setpriv", "--reuid", "munge", "--regid", "munge", "--clear-groups"]
        subprocess.run([*user, "/usr/sbin/munged"], check=True, capture_output=True)
        self.pids.append(int(Path("/run/munge/munged.pid").read_text(encoding="ascii")))

    def __exit__(self, *_):
        self.said("scancel", "--user=root")
        for pid in reversed(self.pids):
            with suppress(ProcessLookupError):
                os.kill(pid, 15)
            end = time.monotonic() + 30
            while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
                time.sleep(0.1)
        os.environ.pop("SLURM_CONF", None)

    def said(self, *words):
        return subprocess.run(
            [*map(str, words)], capture_output=True, text=True, check=False, env={**os.environ, "SLURM_CONF": str(self.conf)}
        ).stdout

    def jobs(self):
        """Ids of the jobs that wait or run."""
        return [int(word) for word in self.said("squeue", "-h", "-o", "%i").split()]


def of_job(job):
    """Processes of a job that are alive."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"SLURM_JOB_ID={job}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def free_port():
    with socket.socket() as found:
        found.bind(("", 0))
        return found.getsockname()[1]
