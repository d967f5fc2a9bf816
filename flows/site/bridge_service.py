"""The resident bridge to Zocalo's clients: `python -m flows.site.bridge_service`.

It waits for Prefect's API, which may know where the broker is, then takes and publishes messages until SIGTERM. Told to
shut down by a command of Zocalo's it ends as well, and supervisord starts it anew: as Zocalo's controller does.
"""

from __future__ import annotations

import asyncio
import logging
import os

from blocks.settings import get_settings


def main() -> None:
    """Run the bridge."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("flows").setLevel(logging.INFO)
    for name in ("aio_pika", "aiormq"):  # the bridge says in its own words what happens to its connections
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # What the service itself says belongs to no run: it's in its log file, and Prefect needn't complain of that
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    asyncio.run(_serve())


async def _serve() -> None:
    from flows.events.bridge.service import serve
    from flows.site.worker_service import wait_for_api

    settings = get_settings()
    if not settings.broker_url:
        while True:
            try:
                await wait_for_api()
                break
            except TimeoutError:
                logging.getLogger("flows.site.bridge_service").warning("Prefect's API doesn't answer yet")
    await serve(settings)


if __name__ == "__main__":
    main()
