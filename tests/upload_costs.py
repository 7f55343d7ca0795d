"""Measure the cost of decoding each file of a folder, in a process of its own.

`python tests/upload_costs.py ROOT FOLDER` prints one line of JSON for each file: its name, the bytes by which the peak
memory exceeds that before the first file, the CPU seconds of all threads, and whether the file was refused. The process
gets so little memory and time that a file without limits ends in a MemoryError, or ends the process; the file after the
last one that is named is then the one that did it.
"""

import contextlib
import json
import resource
import sys
import time
import types
from pathlib import Path

ADDRESS_SPACE = 2**31  # bytes
SECONDS = 10  # for one file


def import_without_torch(root: Path) -> None:
    """Let `visim_models.images.decode` be imported without the package's own imports, which bring torch."""
    package = types.ModuleType("visim_models")
    package.__path__ = [str(root / "visim_models")]
    sys.modules["visim_models"] = package


def peak_memory() -> int:
    """Return the kernel's high-water mark of this process, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def reset_peak() -> None:
    """Start the high-water mark again from what is in use; where that is not allowed, it only grows."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def limit_seconds(more: int) -> None:
    """End the process after so many CPU seconds more."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + more, hard))


def main(root: Path, folder: Path) -> None:
    import_without_torch(root)
    from visim_models.images.decode import decode_image

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    files = sorted(folder.iterdir())
    reset_peak()
    before = peak_memory()
    for file in files:
        reset_peak()
        limit_seconds(SECONDS)
        start, refused = time.process_time(), False
        try:
            decode_image(file)
        except ValueError:
            refused = True
        seconds = time.process_time() - start
        line = {"name": file.name, "memory": peak_memory() - before, "seconds": seconds, "refused": refused}
        print(json.dumps(line), flush=True)
    assert "torch" not in sys.modules


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
