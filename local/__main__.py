"""`python -m local up` and `python -m local demo`."""

import sys

if __name__ == "__main__":
    from local.command_line import main

    sys.exit(main())
