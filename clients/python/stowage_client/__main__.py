"""`python -m stowage_client`: the command `stowage`."""

import sys

from stowage_client.command import main

sys.exit(main())
