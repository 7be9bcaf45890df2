"""`python -m facemae_cli` and `torchrun -m facemae_cli`: the same program as `facemae`."""

from __future__ import annotations

import sys

from facemae_cli.app import main

if __name__ == "__main__":
    sys.exit(main())
