"""`python -m penstock_agent` is `penstock-agent`."""

import sys

from penstock_agent.cli import main

if __name__ == "__main__":
    sys.exit(main())
