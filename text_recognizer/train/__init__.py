"""Trains the finder and the reader on made pages, with Lightning: `python -m text_recognizer.train`."""
