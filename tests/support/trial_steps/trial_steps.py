"""Steps of a made-up site, whose effects are files, and which wait at gates so that a test can kill their process."""

import asyncio
import os
import time
from pathlib import Path

from blocks.errors import MessageRefused, PassingFault
from tasks.step import Send, StepParameters, message_step, stream_step


class Trial(StepParameters):
    """Parameters of all trial steps.

    Parameters
    ----------
    folder
        Where effects and gates are.
    name
        What the effects of this node are called.
    """

    folder: Path
    name: str
    count: int = 1


def wait_at(gate: Path) -> None:
    """Say that the gate is reached, by this process's id, and wait for as long as the gate is there."""
    if gate.exists():
        reached = gate.with_suffix(".reached")
        reached.with_suffix(".new").write_text(str(os.getpid()))
        reached.with_suffix(".new").replace(reached)
    while gate.exists():
        time.sleep(0.01)


def have(effect: str, parameters: Trial, message, context) -> None:
    """Have an effect once: a message that comes again finds its file."""
    tries = parameters.folder / "tries.log"
    with tries.open("a") as log:
        log.write(f"{parameters.name} {message.number}\n")
    key = context.key(message).replace("/", "_")
    (parameters.folder / f"{parameters.name}.{key}.effect").write_text(effect)


@message_step(queue="trial.effect", parameters=Trial, outputs=("next",), default_output="next")
def have_effect(parameters, message, context):
    """Have an effect, with a gate before it and one after it."""
    context.logger.info("%s begins with %s", parameters.name, message.payload)
    wait_at(parameters.folder / f"{parameters.name}.before")
    if message.payload == "poison":
        raise MessageRefused("this one is poison")
    if message.payload == "passing":
        raise PassingFault("not now")
    have(str(message.payload), parameters, message, context)
    wait_at(parameters.folder / f"{parameters.name}.after")
    return [Send(message.payload)]


@stream_step(queue="trial.stream", parameters=Trial, outputs=("next",), default_output="next")
async def have_effects(parameters, inbox, context):
    """Have an effect for each message; the gate closes after `count` of them."""
    done = 0
    async for message in inbox:
        if done == parameters.count:
            await asyncio.to_thread(wait_at, parameters.folder / f"{parameters.name}.gate")
        have(str(message.payload), parameters, message, context)
        done += 1
        yield Send(message.payload, follows=message, completes=(message,))


@stream_step(queue="trial.source", parameters=Trial, outputs=("every",), default_output="every")
async def send_many(parameters, inbox, context):
    """Send `count` numbers for each message."""
    async for message in inbox:
        for number in range(parameters.count):
            yield Send(number, "every", follows=message)
            context.progress(number + 1, parameters.count)
        context.done(message)


@stream_step(queue="trial.analyse", parameters=Trial, outputs=("result",), default_output="result")
async def analyse(parameters, inbox, context):
    """Say what images have, whose numbers come from 0; those that a file `bad` names can't be analysed."""
    async for message in inbox:
        number = message.payload + 1
        bad = parameters.folder / "bad"
        if bad.exists() and str(number) in bad.read_text().split():
            context.refuse(message, MessageRefused(f"image {number} can't be read"))
        else:
            result = {"file-number": number, "n_spots_total": number, "file-seen-at": time.time()}
            yield Send(result, follows=message, completes=(message,))


@message_step(queue="trial.pass", parameters=StepParameters, outputs=("next",), default_output="next")
async def pass_on(parameters, message, context):
    """Send what comes."""
    return [Send(message.payload)]
