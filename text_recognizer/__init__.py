"""Reads a picture of a handwritten paragraph: the recognizer, its data, its training.

Nothing here knows of `lab_utils`; inference needs torch and Pillow alone.
"""
