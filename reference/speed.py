"""What this machine can do to train faster."""

import ctypes
import platform

import torch

# Parameters of glibc's mallopt, from malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
GIBIBYTE = 2**30


def choose_device(device: str = "auto") -> torch.device:
    """ "auto" is the GPU if PyTorch sees one, else the CPU. Raises ValueError for "cuda" where there is none."""
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device: expected auto, cpu or cuda, found {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: expected a GPU for 'cuda', found none that PyTorch can use")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 in hardware; elsewhere it is emulated and slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def can_compile(device: torch.device) -> bool:
    """Whether `torch.compile` works for `device`: on a CPU it needs a C++ compiler and Python's headers."""
    try:
        torch.compile(torch.neg)(torch.zeros(8, device=device))
    except RuntimeError:
        return False
    return True


def keep_freed_memory() -> None:
    """Let the process keep the memory of freed tensors, where the C library is glibc; elsewhere nothing happens.

    By default glibc gives a batch's activations back to the system at every step, and the system clears each page again
    at the next: on a CPU that takes up to a quarter of the time of training. https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, GIBIBYTE)
        libc.mallopt(M_TRIM_THRESHOLD, 2 * GIBIBYTE - 1)
