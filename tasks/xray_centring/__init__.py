"""Find where the crystal is in a grid scan (Zocalo's X-ray centring)."""

from tasks.xray_centring.centring import centre_crystal

__all__ = ["centre_crystal"]
