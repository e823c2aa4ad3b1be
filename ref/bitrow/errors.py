"""The one exception that bitrow raises for input it cannot accept."""


class BitrowError(ValueError):
    """Bad input: the message names the file, layer or argument, what was found, what was expected.

    The message is one line: the command line prints it as it stands.
    """
