"""The memory of a process, as the Linux kernel counts it."""

from pathlib import Path

__all__ = ["peak_memory", "reset_peak", "resident_memory"]


def resident_memory(pid: int | str = "self") -> int:
    """Return the bytes that are resident now."""
    return _status(pid, "VmRSS")


def peak_memory(pid: int | str = "self") -> int:
    """Return the most bytes that were resident since the start, or since `reset_peak`."""
    return _status(pid, "VmHWM")


def reset_peak() -> None:
    """Make `peak_memory` of this process count from now on."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status(pid: int | str, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))
