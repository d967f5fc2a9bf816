"""Wait for images or files to appear, and tell a recipe's next steps about each (Zocalo's file watcher)."""

from tasks.file_watcher.watching import watch_files

__all__ = ["watch_files"]
