"""Store what recipes send to ISPyB (Zocalo's ISPyB connector)."""

from tasks.ispyb_connector.storing import store_in_ispyb

__all__ = ["store_in_ispyb"]
