"""How notebooks are made: read from their sources, built, checked, started from a template.

A source is the only file that is edited by hand; both notebooks of it are generated.
"""
