"""Addresses and environment of a running site."""

from __future__ import annotations

import ssl
from dataclasses import replace

import pytest

from blocks.cluster_keys import keys_folder
from blocks.errors import ConfigurationError
from blocks.settings import Settings
from flows.site.access.secret import make_secret
from flows.site.running_site import (
    RunningSite,
    one_certificate,
    process_environment,
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


def test_keys_of_the_sites_own_scheduler_go_with_its_address(site, settings, monkeypatch):
    keys = keys_folder(settings.home)
    own = replace(site, scheduler_address="tls://127.0.0.1:8", dask_keys=keys)
    own.write()
    assert read_running_site(settings) == own
    for name, value in site_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert (Settings().dask_scheduler, Settings().dask_keys) == ("tls://127.0.0.1:8", keys)
    assert "PLAZA_DASK_KEYS" not in site_environment(settings, site)  # nor with the address of another one


def test_environment_points_prefect_at_the_site(site, settings):
    environment = site_environment(settings, site)
    assert environment["PREFECT_API_URL"] == site.api_url
    assert environment["PREFECT_HOME"] == str(settings.home / "prefect")


def test_secret_goes_with_the_environment_and_nowhere_else(site, settings):
    secret = make_secret(settings.home, {})
    site.write()
    assert site_environment(settings)["PREFECT_API_AUTH_STRING"] == secret
    assert secret not in site.file.read_text()
    assert secret not in repr(site)


@pytest.mark.parametrize(
    ("variable", "reaches"),
    [
        ("PREFECT_SERVER_API_AUTH_STRING", False),  # the guard asks for the secret
        ("PREFECT_SERVER_CSRF_PROTECTION_ENABLED", False),  # and sees to where requests come from
        ("PREFECT_SERVER_API_BASE_PATH", False),
        ("PREFECT_SERVER_DATABASE_CONNECTION_URL", False),
        ("PREFECT_API_DATABASE_CONNECTION_URL", False),
        ("PREFECT_SERVER_UI_SERVE_BASE", False),
        ("PREFECT_UI_API_URL", False),
        ("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", False),
        ("PREFECT_SERVER_EPHEMERAL_ENABLED", False),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", False),
        ("PREFECT_PROFILE", False),
        ("PREFECT_CLOUD_API_URL", False),
        ("PREFECT_MESSAGING_BROKER", False),
        ("PREFECT_LOGGING_LEVEL", True),
        ("PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS", True),
        ("PREFECT_SERVER_EVENTS_MAXIMUM_EVENT_NAME_LENGTH", True),
        ("PREFECT_CLIENT_MAX_RETRIES", True),
        ("PREFECT_WORKER_HEARTBEAT_SECONDS", True),
        ("PATH", True),
    ],
)
def test_what_the_shell_says_of_another_server_reaches_none_of_the_sites_processes(site, settings, variable, reaches):
    environment = process_environment(settings, site, {variable: "theirs"})
    assert ("theirs" in environment.values()) == reaches


@pytest.mark.parametrize("variable", ["PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_HOME"])
def test_site_says_itself_which_server_is_asked_and_as_whom(site, settings, variable):
    make_secret(settings.home, {})
    assert process_environment(settings, site, {variable: "theirs"})[variable] != "theirs"


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
