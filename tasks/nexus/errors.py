"""What can be wrong with a master or one of its files."""

from blocks.errors import PassingFault, PlazaError


class NotReady(PassingFault):
    """A file isn't ready, and may be later: `file`, `reason`."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file}, which {reason}")
        self.file = file
        self.reason = reason


class FileAbsent(NotReady):
    """A file isn't there, or isn't seen on this machine yet."""

    def __init__(self, file: str) -> None:
        super().__init__(file, "isn't there")


class FileBusy(NotReady):
    """A writer holds a file, or its file system fails for the moment."""


class HeldByWriter(FileBusy):
    """A writer holds a file."""


class NoImagesYet(NotReady):
    """A master has no images where NeXus has them, and may get them."""


class UnusableMaster(PlazaError):
    """A master or one of its files isn't what it should be, and waiting won't help; `file`, if that one is to blame."""

    def __init__(self, reason: str, file: str | None = None) -> None:
        super().__init__(reason)
        self.file = file


class NoSuchImage(UnusableMaster):
    """A master has no image of this number, or maps it to no file."""


class NoImages(UnusableMaster):
    """A file has no images where NeXus has them."""
