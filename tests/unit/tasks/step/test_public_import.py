"""Sites write their steps with what `tasks.step` offers; the modules behind it may move."""

import subprocess
import sys

import tasks.step


def test_all_that_is_offered_is_there():
    assert [name for name in tasks.step.__all__ if not hasattr(tasks.step, name)] == []


def test_what_a_site_needs_for_its_own_steps_is_offered():
    needed = {"Message", "Note", "Send", "StepContext", "StepParameters", "message_step", "stream_step"}
    help_in_checking = {"Chooses", "Fills", "NodePlan", "SpeltFreely"}
    to_start_recipes = {"FailedLaunch", "Launch", "LaunchedRecipe"}
    assert needed | help_in_checking | to_start_recipes | {"Retries", "USUAL_RETRIES"} <= set(tasks.step.__all__)


def test_it_brings_nothing_heavy():
    code = "import sys, tasks.step; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"prefect", "dask", "distributed", "sqlalchemy", "h5py", "dials"} & set(done.stdout.split())
