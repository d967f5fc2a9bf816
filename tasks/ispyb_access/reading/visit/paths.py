"""Where a data collection's visit is, and which folders and names its processing has there."""

import re
from pathlib import PurePosixPath

VISIT_NAME = re.compile(r"[a-z]{2}\d+-\d+")
VISIT_LEVEL = 5  # /dls/i03/data/2024/VISIT: where Diamond's paths have it, "/" being level 0


def find_visit(directory: str, session_visit: str | None) -> tuple[str | None, PurePosixPath]:
    """Find the visit of an image directory, and the visit's own directory.

    Diamond's rule is the sixth component of the path (`/dls/i03/data/2024/VISIT/…`). It is taken as it is below
    `/dls`, and elsewhere if it looks like a visit. Otherwise it is the component named as the session's visit in ISPyB,
    so that beamlines whose data stand elsewhere work; otherwise, again, the sixth component. A path that is too short
    and doesn't name the visit gives the session's visit, and is itself the visit's directory.
    """
    path = PurePosixPath(directory)
    parts = path.parts
    sixth = parts[VISIT_LEVEL] if len(parts) > VISIT_LEVEL else None
    if sixth and (parts[1] == "dls" or VISIT_NAME.fullmatch(sixth)):
        return sixth, PurePosixPath(*parts[: VISIT_LEVEL + 1])
    if session_visit in parts:
        return session_visit, PurePosixPath(*parts[: parts.index(session_visit) + 1])
    if sixth:
        return sixth, PurePosixPath(*parts[: VISIT_LEVEL + 1])
    return session_visit, path


def output_directories(
    directory: str, visit_directory: PurePosixPath, collection: str, recipe_run: str
) -> tuple[str, str, str]:
    """Return the working, results and final directories of a recipe run."""
    # Names of files may have a slash in ISPyB, but one at the beginning would lead to the root
    names = (name.replace("/", "_") for name in (collection, recipe_run))
    below = PurePosixPath(directory).relative_to(visit_directory).joinpath(*names)
    processed = visit_directory / "processed"
    return (
        str(visit_directory / "tmp" / "zocalo" / below),
        str(processed / below),
        str(processed / "pipeline-final" / below),
    )


def parts_below(visit_directory: str | PurePosixPath, path: str) -> tuple[str, ...]:
    """Return the components of a path below the visit's directory; none if it isn't there."""
    try:
        return PurePosixPath(path).relative_to(visit_directory).parts
    except ValueError:
        return ()


def xia2_names(visit: str | None, prefix: str | None, number: int | None) -> tuple[str, str]:
    """Return project and crystal names that xia2 accepts."""
    project = (visit or "AUTOMATIC").replace("-", "v")
    letters = re.sub(r"[^A-Za-z0-9]", "", f"{prefix or ''}{'' if number is None else number}")
    return project, f"x{letters}" if letters else "DEFAULT"
