"""How much memory there is, so that what asks for more is refused before it is taken."""

from __future__ import annotations

import os


def memory() -> int:
    """Bytes that this process can have at most; as good as endless where the system doesn't tell."""
    try:
        most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        most = 2**62
    try:
        import resource
    except ImportError:  # Windows has none
        return most
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return most if limit == resource.RLIM_INFINITY else min(most, limit)
