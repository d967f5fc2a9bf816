"""What steps are made of: the public import for those who write steps, a site's own among them."""

from tasks.step.checking import Chooses, Fills, NodePlan, SpeltFreely
from tasks.step.contract import (
    ABORT,
    BY_HAND,
    Message,
    MessageFunction,
    Send,
    Step,
    StepContext,
    StepParameters,
    StreamFunction,
    message_step,
    stream_step,
)
from tasks.step.notes import Note
from tasks.step.ports import FailedLaunch, Launch, LaunchedRecipe
from tasks.step.retries import USUAL_RETRIES, Retries

__all__ = [
    "ABORT",
    "BY_HAND",
    "USUAL_RETRIES",
    "Chooses",
    "FailedLaunch",
    "Fills",
    "Launch",
    "LaunchedRecipe",
    "Message",
    "MessageFunction",
    "NodePlan",
    "Note",
    "Retries",
    "Send",
    "SpeltFreely",
    "Step",
    "StepContext",
    "StepParameters",
    "StreamFunction",
    "message_step",
    "stream_step",
]
