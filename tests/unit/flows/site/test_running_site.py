"""Addresses and environment of a running site."""

from __future__ import annotations

import ssl

import pytest

from blocks.errors import ConfigurationError
from blocks.settings import Settings
from flows.site.running_site import (
    RunningSite,
    one_certificate,
    read_running_site,
    site_environment,
    socket_folder,
    use_running_site,
)


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, smtp_port=2525)


@pytest.fixture
def site(settings):
    return RunningSite(settings.home, "http://127.0.0.1:9/api", "http://127.0.0.1:9", "tcp://127.0.0.1:8")


def test_addresses_are_found_again(site, settings):
    site.write()
    assert read_running_site(settings) == site


def test_site_that_is_down_is_an_error_that_says_what_to_do(settings):
    with pytest.raises(ConfigurationError, match="plaza up"):
        read_running_site(settings)


def test_environment_makes_the_same_settings_again(site, settings, monkeypatch):
    for name, value in site_environment(settings, site).items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings.model_copy(update={"dask_scheduler": site.scheduler_address})


def test_environment_points_prefect_at_the_site(site, settings):
    environment = site_environment(settings, site)
    assert environment["PREFECT_API_URL"] == site.api_url
    assert environment["PREFECT_HOME"] == str(settings.home / "prefect")


def test_using_a_site_too_late_is_refused(site, settings):
    import prefect  # noqa: F401

    site.write()
    with pytest.raises(ConfigurationError, match="imported before"):
        use_running_site(settings)


def test_certificate_file_holds_one_authority(tmp_path):
    context = ssl.create_default_context(cafile=str(one_certificate(tmp_path)))
    assert len(context.get_ca_certs()) == 1


def test_sockets_are_in_the_home_when_their_names_fit(tmp_path):
    assert socket_folder(tmp_path) == tmp_path / "run"


def test_sockets_of_a_long_home_are_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    home = tmp_path / ("long" * 25)
    folder = socket_folder(home)
    assert folder.parent == tmp_path
    assert folder == socket_folder(home) != socket_folder(home / "other")


def test_folder_of_another_user_is_not_trusted(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    home = tmp_path / ("long" * 25)
    folder = socket_folder(home)
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match="another user"):
        socket_folder(home)
