"""The one exception for input that a person can mend."""


class InputError(Exception):
    """Bad input from a person: one line that names the place, the problem and the remedy.

    The command line prints it without a traceback and exits non-zero. Line breaks in what the person
    wrote (a key, a name, a parser's report) become spaces.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(line.strip() for line in message.splitlines()))
