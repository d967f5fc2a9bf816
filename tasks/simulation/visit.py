"""Visits: whose beam time it is, and where its data go."""

import re
from datetime import date
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from blocks.errors import ConfigurationError


class Visit(BaseModel):
    """A visit such as mx12345-1 at a beamline; its data are under `<root>/<beamline>/data/<year>/<visit>`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str = Field(pattern=r"^[a-z]{2}$")
    proposal: int = Field(gt=0)
    number: int = Field(gt=0)
    beamline: str = Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=45)
    root: Path
    year: int = Field(default_factory=lambda: date.today().year)

    @classmethod
    def parse(cls, name: str, *, beamline: str, root: Path) -> Self:
        """Read a visit's name.

        Raises
        ------
        ConfigurationError
            The visit isn't two letters, the proposal's number and the visit's, or the beamline's name has other
            characters than small letters, digits and hyphens.
        """
        parts = re.fullmatch(r"([a-z]{2})([1-9]\d*)-([1-9]\d*)", name)
        if parts is None:
            raise ConfigurationError(f"expected a visit like mx12345-1 (proposal and number), seen {name!r}")
        if re.fullmatch(r"[a-z][a-z0-9-]*", beamline) is None:
            raise ConfigurationError(f"expected a beamline's name like i03, seen {beamline!r}")
        return cls(
            code=parts[1],
            proposal=int(parts[2]),
            number=int(parts[3]),
            beamline=beamline,
            root=root.expanduser().absolute(),
        )

    @classmethod
    def simulated(cls, beamline: str, root: Path) -> Self:
        """Return the beamline's own simulated visit: a visit is at one beamline only."""
        digits = "".join(character for character in beamline if character.isdigit()).lstrip("0")
        return cls.parse(f"mx12345-{digits or 1}", beamline=beamline, root=root)

    @property
    def name(self) -> str:
        """The name by which it's known."""
        return f"{self.code}{self.proposal}-{self.number}"

    @property
    def folder(self) -> Path:
        """The visit directory."""
        return self.root / self.beamline / "data" / str(self.year) / self.name

    def make_folder(self, subfolder: str) -> Path:
        """Make a new folder for images, numbered by the first number that is free."""
        # Images may be called `..`, but their folder may not
        parent = self.folder / (subfolder if subfolder.strip(".") else f"_{subfolder}")
        parent.mkdir(parents=True, exist_ok=True)
        # mkdir decides who gets a number: two collections may begin at once.
        number = 1
        while True:
            try:
                (parent / f"run_{number}").mkdir()
            except FileExistsError:
                number += 1
            else:
                return parent / f"run_{number}"
