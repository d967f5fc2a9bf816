"""What is to be run, as Zocalo's dispatcher is sent it: the body of a message of the queue `processing_recipe`.

`plaza go`, Zocalo's own clients, recipes that send to that queue and drop files all ask in this form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _names(value: Any) -> Any:
    """Tolerate a single name, and none."""
    return (value,) if isinstance(value, str) else () if value is None else value


class RunRequest(BaseModel):
    """Recipes to be run together as one, with what is handed over to them.

    Other keys are ignored, as Zocalo's dispatcher does.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    recipes: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        (), description="Names of recipes; `mimas` is Mimas, told of an event"
    )
    custom_recipe: Mapping[str, Any] | None = Field(None, description="A recipe as it stands in a recipe file")
    parameters: Mapping[str, Any] = Field(
        {}, description="For the recipes' placeholders: `ispyb_dcid`, `ispyb_process`, `event`, `guid` and others"
    )
