"""Trains finder and reader on made pages, with Lightning: `python -m text_recognizer.train`."""
