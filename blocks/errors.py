"""What can go wrong, named for what happened. Every error of Plaza's own is a PlazaError."""

from collections.abc import Iterator


class PlazaError(Exception):
    """Base of Plaza's errors: the message says what was expected, what was seen and what to do."""


class ConfigurationError(PlazaError):
    """A setting, block or site file is missing or contradicts itself."""


class PassingFault(PlazaError):
    """Base of what may succeed when it's tried again a little later, with the same input.

    Whoever waits for one thing catches that one: a step that waits for ISPyB as long as it takes must not do so for a
    file that isn't there. Steps in general wait for any (`tasks.step.retries`).
    """


class DatabaseUnavailable(PassingFault):
    """A database can't be reached or used now: ISPyB, where nothing else is named."""


class PrefectUnavailable(PassingFault):
    """Prefect's API doesn't answer."""


class UnknownDataCollection(PlazaError):
    """There is no data collection of this id in ISPyB."""


class UnknownJob(PlazaError):
    """There is no processing job of this id in ISPyB."""


class RecipeError(PlazaError):
    """A recipe breaks a rule of the recipe language, or a placeholder in it can't be filled."""


class UnknownStep(PlazaError):
    """A recipe names a queue or service that Plaza has no step for."""


class MessageRefused(PlazaError):
    """A step can't use a message or its parameters: Zocalo's `nack`. The rest of the stream goes on."""


class NodeRefused(MessageRefused):
    """A step can't use any message of its node, whatever it says: wrong parameters, say, or a grid that isn't one.

    The first message becomes a dead letter that stands for all; the others wait with it, undone.
    """


class UnknownRecipeRun(PlazaError):
    """There is no record of this recipe run, or its id is ambiguous."""


class RecipeRunBusy(PlazaError):
    """The recipe run is at work in a process, so it can't be taken up by another."""


class UnknownDeadLetter(PlazaError):
    """There is no dead letter of this name, or more than one."""


class DamagedDeadLetter(PlazaError):
    """A dead letter's file doesn't hold one: somebody has changed it."""


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what it comes from, what that comes from, and so on."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:  # a chain may be closed by hand
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
