"""Text of unknown origin, made fit for a terminal."""


def printable(text: str) -> str:
    """``text`` with everything that could steer a terminal, or not be encoded, written as an escape; tabs as
    spaces.
    """
    return "".join(
        letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1]
        for letter in text.expandtabs(4)
    )
