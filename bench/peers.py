"""The peers that Penstock is measured beside, in an environment of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.run import Unavailable

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-bench"
_PACKAGES = ["moto[server]==5.2.5", "buildbot==4.3.0", "buildbot-worker==4.3.0", "buildbot-www==4.3.0", "setuptools<81"]


def environment() -> Path:
    """The bin folder of the peers' environment, made on first use."""
    stamp = ENVIRONMENT / ".installed"
    wanted = "\n".join(_PACKAGES)
    if not stamp.exists() or stamp.read_text() != wanted:
        print("      (installing moto and Buildbot into .venv-bench)", flush=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True, capture_output=True)
            pip = [str(ENVIRONMENT / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *_PACKAGES]
            subprocess.run(pip, check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            raise Unavailable(f"the peers cannot be installed: {str(error.stderr)[-300:]}") from error
        stamp.write_text(wanted)
    return ENVIRONMENT / "bin"
