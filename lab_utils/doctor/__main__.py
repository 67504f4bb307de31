"""`python -m lab_utils.doctor`: the report where `lab` itself does not start for want of packages."""

import sys

from lab_utils.doctor.examination import examine, exit_code, report

findings = examine()
print(report(findings))
sys.exit(exit_code(findings))
