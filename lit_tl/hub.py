"""The Hugging Face Hub: whether it answers, and what its library raises where it does not."""

import contextlib
from typing import Iterator


def connection_errors() -> tuple[type[Exception], ...]:
    """What `huggingface_hub` raises where the Hub can't be reached. Answers that are errors
    (`HfHubHTTPError`) are among them, and have to be caught before. Loads the library."""
    from huggingface_hub import errors

    http_error = errors.HfHubHTTPError.__mro__[
        1
    ]  # of the library's HTTP client, which differs between its versions
    return (
        http_error,
        ConnectionError,
        errors.OfflineModeIsEnabled,
        errors.LocalEntryNotFoundError,
    )


@contextlib.contextmanager
def with_the_hub_if_it_answers(needed: bool) -> Iterator[None]:
    """Inside, where the Hub does not answer, only what was downloaded before is used: such a model
    loads at once, and any other fails at once rather than after half a minute of retries."""
    import huggingface_hub
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    if needed and not before:
        try:
            huggingface_hub.get_session().head(constants.ENDPOINT, timeout=5.0)
        except connection_errors():
            constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
