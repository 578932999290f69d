"""`fastmlp info` and `fastmlp warmup`: what this machine has, and the kernels compiled for it."""

from __future__ import annotations

import argparse

from fastmlp.machine import versions

from .shared import Commands, add_command, timed

INFO_EPILOG = """\
example:
  fastmlp info"""

WARMUP_EPILOG = """\
examples:
  fastmlp warmup         what most networks need
  fastmlp warmup --all   for an image or a machine that is set up once"""


def add_to(commands: Commands) -> None:
    """The two commands and their options."""
    short = "print versions, the processor's features and the folder of compiled kernels"
    add_command(commands, info, "info", short, epilog=INFO_EPILOG)
    short = "compile the kernels now, so that later runs start at once"
    sub = add_command(commands, warmup, "warmup", short, epilog=WARMUP_EPILOG)
    sub.add_argument(
        "--all", action="store_true", help="every activation, loss, optimizer and layer, too: half a minute"
    )


def info(options: argparse.Namespace) -> None:
    """`fastmlp info`."""
    import llvmlite.binding as llvm

    from fastmlp import threads
    from fastmlp.kernels._jit import VECTORS, cache_folder

    for name, version in versions().items():
        print(f"{name:12}{version}")
    print(f"{'processor':12}{llvm.get_host_cpu_name()}")
    # The vector widths decide the speed; the other flags would fill the screen.
    kinds = ("avx", "sse", "fma", "neon", "sve", "f16c")
    features = sorted(name for name, has in llvm.get_host_cpu_features().items() if has and name.startswith(kinds))
    print(f"{'vectors':12}{' '.join(features) or 'none reported'}")
    code = {
        "avx512f": "AVX-512, 16 float32 at once",
        "avx2": "AVX2, 8 float32 at once (no AVX-512 here)",
        "sse2": "SSE2, 4 float32 at once (no AVX2 or AVX-512 here)",
        "other": "whatever vectors this processor has, 4 float32 at once",
    }
    print(f"{'code':12}{code[VECTORS]}")
    print(f"{'threads':12}{threads.get_num_threads()} of {threads.available()} cores (FASTMLP_NUM_THREADS sets it)")
    try:
        print(f"{'kernels':12}{cache_folder()}")
    except FileNotFoundError as error:
        print(f"{'kernels':12}nowhere, each process compiles: {error}; set FASTMLP_CACHE_DIR")


def warmup(options: argparse.Namespace) -> None:
    """`fastmlp warmup`."""
    import fastmlp

    seconds: dict[str, float] = {}
    timed(seconds, "warmup", fastmlp.warmup, everything=options.all)
    print(f"The kernels are ready after {seconds['warmup']:.1f} s.")
