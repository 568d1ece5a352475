"""Linux keeps AMX's tile registers from a process that has not asked for them; compiled kernels do not ask."""

from __future__ import annotations

import ctypes
import platform

_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18  # Linux, Documentation/arch/x86/xstate.rst


def allow() -> None:
    """Asks for this process and those that it forks; without effect where there are none."""
    if platform.machine() == "x86_64":
        ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA)
