"""Every error that a user can cause, as one family: each message is one sentence or two that say
what to do, so that an edge can show it as it is and catch only `RecognizerError`."""


class ToldInOneLine(Exception):
    """An error whose message says all: notebooks show it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of the traceback."""
        return [f"{type(self).__name__}: {self}"]


class RecognizerError(ToldInOneLine, ValueError):
    """The request cannot be served, and the message says what to change."""


class ImageError(RecognizerError):
    """The image cannot be used: missing, unreadable, damaged, empty or of an unknown format."""


class ImageTooLargeError(ImageError):
    """The image has more bytes or pixels than `text_recognizer.limits` allows."""


class AddressError(RecognizerError):
    """The URL is not one that is fetched: wrong scheme, credentials, or a private address."""


class DownloadError(RecognizerError):
    """The URL is allowed, but gave no image: no answer, an error status, too slow, too large."""


class ModelFileError(RecognizerError):
    """The model file is missing, damaged, or holds another model."""


class DeviceError(RecognizerError):
    """The device asked for is not there."""


class FirstPageWarning(UserWarning):
    """The image has several pages or frames, and only the first was read."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory, of the GPU or not, is not enough. TorchScript turns
    the errors of operators into its own errors, so that only their texts say what they were."""
    signs = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)
