"""Tell the data catalogue (ICAT) which files a data collection has (Zocalo's archivers)."""

from tasks.archiver.archiving import archive_filelist, archive_pattern

__all__ = ["archive_filelist", "archive_pattern"]
