"""Find a block that the site has saved in Prefect."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from blocks.errors import PassingFault

SavedBlock = TypeVar("SavedBlock", bound=Block)


def find_block(
    block_type: type[SavedBlock],
    name: str,
    *,
    holds: str,
    setting: str,
    away: type[PassingFault],
    patience_s: float | None = None,
) -> SavedBlock | None:
    """Return a saved block; None if there is no such block.

    It asks synchronously and by itself, so it works within an event loop too (`Block.load` would return a coroutine).

    Parameters
    ----------
    block_type, name
        Which block.
    holds, setting
        What the block is asked for, and the setting that says it instead: for the error's text.
    away
        The error to raise when Prefect's API doesn't answer.
    patience_s
        How long an answer may take; None: as long, and after as many tries, as Prefect's client has it.
    """
    slug = block_type.get_block_type_slug()
    try:
        # The API that is configured, never a server that Prefect would start for us.
        with _patience(patience_s) as options, get_client(sync_client=True, httpx_settings=options) as client:
            document = client.read_block_document_by_name(name, slug)
    except ObjectNotFound:
        return None
    except httpx.HTTPError as error:  # nothing listens, or what does refuses us: an API with a password says 401
        raise away(
            f"Prefect's API doesn't answer ({error}), so the block {slug}/{name} can't be asked for {holds}; "
            f"start Prefect's server, or set {setting}"
        ) from error
    return block_type.model_validate(document.data)


@contextmanager
def _patience(seconds: float | None) -> Iterator[dict[str, Any] | None]:
    """Give the settings of a client that tries once, and for so long."""
    if seconds is None:
        yield None
        return
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield {"timeout": seconds}
