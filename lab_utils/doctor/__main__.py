"""`python -m lab_utils.doctor`: the report, also if `lab` lacks the packages to start."""

import sys

from lab_utils.doctor import main

sys.exit(main())
