"""What reading data raises."""


class DataError(ValueError):
    """A data set can't be read. The message names the file, the line and the reason."""
