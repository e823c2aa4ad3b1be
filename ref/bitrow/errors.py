"""The one exception that bitrow raises for input it cannot accept."""

from bitrow.terminal import ERROR_LENGTH, plain


class BitrowError(ValueError):
    """Bad input: the message names the file, layer or argument, what was found, what was expected.

    The message is one line of printable characters, whatever was found: `terminal.plain` sees to it.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(plain(message, ERROR_LENGTH))
