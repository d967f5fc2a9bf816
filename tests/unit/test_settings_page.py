from pathlib import Path

from flows.cli.site.settings import settings_page


def test_the_page_of_settings_is_up_to_date():
    page = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
    assert page.read_text() == settings_page(), "run `plaza settings > docs/reference/settings.md`"
