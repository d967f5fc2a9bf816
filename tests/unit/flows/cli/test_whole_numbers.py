"""Numbers on a command line are digits; what Python reads beside them is refused."""

import pytest
from typer.testing import CliRunner

from flows.cli.dead_letters.commands import app as dead_letters
from flows.cli.events.commands import app as events
from flows.cli.jobs.commands import app as jobs


@pytest.mark.parametrize("text", ["1_0", "١٢", "1.0", "0x10", "", "9" * 5000])
@pytest.mark.parametrize(
    ("app", "words"),
    [(events, ["end"]), (jobs, ["show"]), (jobs, ["list", "--dcid"]), (dead_letters, ["list", "--dcid"])],
)
def test_other_than_digits_is_no_number(app, words, text):
    result = CliRunner().invoke(app, [*words, text])
    assert result.exit_code == 2
    assert "expected a whole number" in result.output
    assert len(result.output) < 2000
