"""Looks over the machine: what the lab needs and what it can use, each with what to do about it.

Nothing is changed, installed or fetched, and no network is used. Needs the standard library alone,
since a package that is missing is one of the things it tells:

    python -m lab_utils.doctor
"""

from lab_utils.doctor.examination import examine, report
from lab_utils.doctor.finding import Finding, Mark

__all__ = ["Finding", "Mark", "examine", "report"]
