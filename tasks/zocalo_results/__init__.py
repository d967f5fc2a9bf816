"""Results that beamlines wait for on Zocalo's broker."""

from tasks.zocalo_results.sending import send_results

__all__ = ["send_results"]
