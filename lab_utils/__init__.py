"""What the notebooks and the command line share around the recognizer: set-up, commands, checks.

`text_recognizer` knows nothing of this package.
"""
