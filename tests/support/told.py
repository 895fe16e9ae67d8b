"""Tasks that tell what they find in their process. Tests import it from this folder, and their processes then can, too."""

import errno
import os
import signal
import time
from dataclasses import dataclass

from bench.errors import MachineError
from bench.grid.job import GPUS, Task


@dataclass(frozen=True, kw_only=True)
class Tells(Task):
    """Waits, and gives the GPU that it was given, with when it began and ended."""

    asks: str = "cuda"
    seconds: float = 0.0

    @property
    def device(self):
        return self.asks

    def work(self, report):
        begin = time.monotonic()
        report("begun")
        time.sleep(self.seconds)
        print("GPU", os.environ.get(GPUS))
        return os.environ.get(GPUS), begin, time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Touched(Task):
    """Whether a GPU was touched before this process was forked."""

    def work(self, report):
        import torch

        return torch.cuda.is_initialized()


@dataclass(frozen=True, kw_only=True)
class Breaks(Tells):
    """Ends in a way that no result can come of."""

    how: str = ""

    def work(self, report):
        if self.how.startswith("SIG"):
            if self.how != "SIGKILL":
                signal.signal(getattr(signal, self.how), signal.SIG_DFL)  # whoever started us may ignore it, as nohup does
            os.kill(os.getpid(), getattr(signal, self.how))
            time.sleep(60)
        raise {
            "gone": MachineError("device cuda was asked for, but torch sees no GPU"),
            "driver": RuntimeError("CUDA error: no CUDA-capable device is detected"),
            "assertion": RuntimeError("CUDA error: device-side assert triggered"),
            "disk": OSError(errno.ENOSPC, "No space left on device"),
            "packed": RuntimeError("Error while serializing: IoError(Os { code: 28, message: No space left on device })"),
            "files": OSError(errno.EMFILE, "Too many open files"),
            "absent": FileNotFoundError(errno.ENOENT, "No such file or directory"),
        }[self.how]
