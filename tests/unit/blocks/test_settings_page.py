from flows.cli.site.settings import settings_page
from tests.support.checkout import REFERENCE_PAGES


def test_the_page_of_settings_is_up_to_date():
    page = REFERENCE_PAGES / "settings.md"
    assert page.read_text() == settings_page(), "run `plaza settings > docs/reference/settings.md`"
