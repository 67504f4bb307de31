"""`python -m lab_utils.doctor`: the report, also if `lab` lacks the packages to start."""

import sys

from lab_utils.doctor import examine, exit_code, report

findings = examine()
print(report(findings))
sys.exit(exit_code(findings))
