"""What is asked of a device of any kind that torch knows: a CPU, a GPU, another accelerator, one that a package adds."""

from __future__ import annotations

import torch


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given, so that a clock sees it. A CPU has done it."""
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)


def name_of(device: torch.device) -> str | None:
    """What the driver calls the device, None for a CPU or where it has no name."""
    names = None if device.type == "cpu" else getattr(torch.get_device_module(device), "get_device_name", None)
    return None if names is None else names(device)


def peak_bytes(device: torch.device) -> int | None:
    """Most bytes that torch's allocator has held for tensors there since the last restart; None where none keeps count, as on a CPU."""
    peak = None if device.type == "cpu" else getattr(torch.get_device_module(device), "max_memory_allocated", None)
    return None if peak is None else peak(device)


def restart_peak(device: torch.device) -> None:
    """Count `peak_bytes` from what is held now."""
    if peak_bytes(device) is not None:
        torch.get_device_module(device).reset_peak_memory_stats(device)


def forked_streams(device: torch.device):
    """torch's random streams of the CPU and of the device, put back when the body ends."""
    return torch.random.fork_rng([] if device.type == "cpu" else [device], device_type="cuda" if device.type == "cpu" else device.type)
