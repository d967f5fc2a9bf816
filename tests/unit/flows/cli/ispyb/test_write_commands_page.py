from flows.cli.ispyb.write_commands import commands_page
from tasks.ispyb_access.writing.composite_commands import MODELS
from tests.support.checkout import REFERENCE_PAGES

PAGE = REFERENCE_PAGES / "ispyb-commands.md"


def test_the_page_of_ispyb_commands_is_up_to_date():
    assert PAGE.read_text() == commands_page(), "run `plaza ispyb commands > docs/reference/ispyb-commands.md`"


def test_every_command_says_what_it_does():
    sections = {name: text for name, _, text in (part.partition("\n\n") for part in commands_page().split("## ")[1:])}
    assert sorted(sections) == sorted(MODELS)
    for name, text in sections.items():
        assert text.split("\n")[0].endswith("."), name
        assert "`** |" in text or "` |" in text, name
