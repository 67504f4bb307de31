"""The commands of `lab`, one module a subject.

They import torch and the packages inside the functions: `lab --help` answers at once.
"""
