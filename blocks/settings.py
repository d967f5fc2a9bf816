"""Plaza's settings: the environment (PLAZA_…) wins over the file plaza.env of the home folder."""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from blocks.cloud_groups import CloudGroupSetting
from blocks.errors import ConfigurationError
from blocks.validation_faults import describe, dotted

CHECKOUT = Path(__file__).resolve().parents[1]

_FIELD_OF_ERROR = re.compile(r'field "(\w+)"')  # pydantic-settings says it in the message only


class Settings(BaseSettings):
    """Where this installation keeps its state and which services it uses."""

    model_config = SettingsConfigDict(env_prefix="PLAZA_", env_file=CHECKOUT / "plaza.env", extra="ignore", frozen=True)

    home: Path = Field(CHECKOUT / ".plaza", description="Folder of all state: databases, logs, process files")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least level of the lines that recipe runs log: DEBUG, INFO, WARNING or ERROR"
    )
    group: str | None = Field(
        None,
        description="Group whose members may look into the home folder, read the site's secret and resume runs; unset: "
        "only the site's user may",
    )
    recipe_directory: Path = Field(CHECKOUT / "recipes", description="Folder of the recipe files (*.json)")
    mimas_rules: Path | None = Field(
        None,
        description="Python file with rules of the site's for Mimas, beside those of Plaza and of installed packages; "
        "it counts at once when it's changed",
    )
    ispyb_url: str | None = Field(
        None,
        repr=False,
        description="SQLAlchemy URL of ISPyB; unset: the block ispyb-database/plaza, else SQLite in the home folder",
    )
    ispyb_read_url: str | None = Field(
        None,
        repr=False,
        description="The same ISPyB as a user that reads, for sites whose user that writes may not read; unset: as the "
        "block ispyb-database/plaza says if it's that one's ISPyB, else the user that writes reads, too",
    )
    ispyb_writer: Literal["sql", "procedures"] | None = Field(
        None,
        description="How ISPyB is written: sql (where the grants forbid it, command by command, by the database's "
        "procedures), or procedures (always); unset: as the block ispyb-database/plaza says, else sql",
    )
    dask_scheduler: str | None = Field(
        None, description="Address of the Dask scheduler for per-image analysis; unset: a cluster within the process"
    )
    dask_keys: Path | None = Field(
        None,
        description="Folder of the keys of that scheduler, as `plaza up` makes it for its own (`dask-tls` in the home "
        "folder); unset: as Dask's own configuration says",
    )
    analysis_workers: int = Field(0, ge=0, description="Dask workers of the local analysis cluster; 0: one per core")
    runs_at_once: int = Field(
        0,
        ge=0,
        description="Flow runs under way at once, two at least: more wait for their turn; from three on no beamline's "
        "take all; 0: as many as half of the machine's memory has room for, at 80 MB each",
    )
    spots_checked_one_in: int = Field(
        1000,
        ge=0,
        description="One image in so many of each run is also done by DIALS and compared, which costs 3 to 15 times as "
        "much as an image: 0.3 to 1.5 % of all at 1000. Where one has no spots, the next one with spots is compared, "
        "too, and ever fewer of those without, about ten more in 1000 blank images. 1: all images are, so that all "
        "have DIALS's numbers; 0: none",
    )
    # The ports are Prefect's and Dask's own defaults.
    server_port: int = Field(
        4200, ge=0, le=65535, description="Port of Prefect's server that `plaza up` starts; 0: any free one"
    )
    server_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address or name of this machine on which Prefect's server listens; 0.0.0.0: all of them, for "
        "beamlines' hosts",
    )
    trusted_hosts: tuple[Annotated[str, Field(pattern=r"^[^/\s]+$")], ...] = Field(
        (),
        description="More names by which Prefect's server may be asked for, such as a reverse proxy's, as JSON; its "
        "machine's own are known",
    )
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="Addresses or networks of reverse proxies whose X-Forwarded-For and -Proto count, as JSON",
    )
    dask_port: int = Field(
        8786, ge=0, le=65535, description="Port of the Dask scheduler that `plaza up` starts; 0: any free one"
    )
    bridge: bool = Field(
        False,
        description="Whether `plaza up` starts the bridge too, which takes what Zocalo's own clients put on RabbitMQ; "
        "`plaza up --bridge` sets it",
    )
    broker_url: str | None = Field(
        None,
        repr=False,
        description="RabbitMQ for the bridge: amqp://user:password@host:port,host:port/vhost (amqps: by TLS), followed "
        "by options after a ? (docs/how-to/zocalo-clients.md); unset: the block message-broker/plaza",
    )
    smtp_host: str | None = Field(
        None, description="Mail server; unset: the block mail-server/plaza, else mails are kept in the home folder"
    )
    smtp_port: int = Field(25, ge=1, le=65535, description="Port of the mail server")
    mail_sender: str = Field("plaza@localhost", description="Sender of mails whose recipe names none")
    archiver_allowed_industrial_visits: tuple[str, ...] = Field(
        (), description="Industrial visits to archive all the same: visits, proposals or two-letter codes, as JSON"
    )
    visit_link_targets: tuple[Path, ...] = Field(
        (),
        description="Folders outside of visits to which links in a visit's folder may lead where results are written, "
        "as JSON; links to others are refused, since a visit's users could set them",
    )
    operators: str = Field(
        "operators@localhost", description="Who gets mail about incomplete data: `{operators}` in recipes"
    )
    gda_host: str = Field(
        "mx-control", description="Host that hears of every analysed image: `{gda_host}` in recipes; mx-control: nobody"
    )
    gda_port: int = Field(9876, ge=1, le=65535, description="UDP port of gda_host: `{gda_port}` in recipes")

    beamlines: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        description="Beamlines that this site serves, as JSON: Mimas launches nothing for others, and its run fails; "
        "none: all beamlines",
    )
    cloudbursting: bool = Field(
        False, description="Pipelines that nobody prefers may go to the cloud when the facility's cluster is full"
    )
    cloud_groups: tuple[CloudGroupSetting, ...] = Field(
        (),
        description="Whose, as JSON: objects with `visit_pattern` (beginnings of visits' names), `beamlines`, "
        "`recipes` (parts of recipes' names) and `max_jobs_waiting` (`slurm`: with more, the cloud is used; `iris`: "
        "with so many, it isn't)",
    )
    s3echo_quota: float = Field(
        100.0,
        gt=0,
        description="How much the cloud's object store may hold, in the unit of its statistics: above 95 % of it the "
        "cloud isn't used",
    )
    statistics_timeout: float = Field(
        300.0, gt=0, description="Seconds after which a cluster's statistics say nothing any more"
    )

    @field_validator("mimas_rules", mode="before")
    @classmethod
    def _none_if_empty(cls, file: Any) -> Any:
        return file or None  # which a path would take for the folder at hand

    @field_validator("home", "recipe_directory", "dask_keys", "mimas_rules")
    @classmethod
    def _from_here(cls, folder: Path | None) -> Path | None:
        return folder and folder.absolute()  # services and flow runs work in other folders

    def recipe_parameters(self) -> dict[str, Any]:
        """Return what recipes may say of the site in placeholders."""
        return {"operators": self.operators, "gda_host": self.gda_host, "gda_port": self.gda_port}


@cache
def get_settings() -> Settings:
    """Return the settings of this process, read once.

    Tests and child processes that change the environment call `get_settings.cache_clear()`.

    Raises
    ------
    ConfigurationError
        One can't be used; the message names its variable.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise _unusable(describe(error, place=lambda location: f"PLAZA_{dotted(location).upper()}")) from error
    except SettingsError as error:  # before it's validated: of those that are JSON
        field = _FIELD_OF_ERROR.search(str(error))
        what = f"PLAZA_{field[1].upper()}: expected a list as JSON" if field else str(error)
        raise _unusable(f"{what}, seen what is none: {error.__cause__}") from error


def _unusable(faults: str) -> ConfigurationError:
    return ConfigurationError(
        f"settings can't be used: {faults}. Mend them in the environment or in {CHECKOUT / 'plaza.env'}"
    )
