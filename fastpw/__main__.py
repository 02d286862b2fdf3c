"""python -m fastpw is the command fastpw."""

import sys

from fastpw.cli import main

sys.exit(main())
