"""ISPyB's address in Prefect."""

import asyncio

import pytest

from blocks.errors import DatabaseUnavailable
from blocks.settings import Settings
from blocks.site_ispyb import connect


@pytest.mark.slow
def test_block_gives_the_address_if_the_settings_do_not(prefect_server, tmp_path):
    from blocks.ispyb_database import ISPyBDatabase

    settings = Settings(home=tmp_path / "home", ispyb_url=None)
    assert connect(settings).url.database == str(tmp_path / "home" / "ispyb.sqlite")

    block = ISPyBDatabase(url=f"sqlite:///{tmp_path}/of-the-block.sqlite")
    block.save("plaza", overwrite=True)
    try:
        assert connect(settings).url.database == f"{tmp_path}/of-the-block.sqlite"

        async def within_a_flow():
            return connect(settings).url.database

        assert asyncio.run(within_a_flow()) == f"{tmp_path}/of-the-block.sqlite"
    finally:
        ISPyBDatabase.delete("plaza")


def test_block_does_not_show_the_password():
    from blocks.ispyb_database import ISPyBDatabase

    block = ISPyBDatabase(url="mysql://ispyb:secret@db.example/ispyb")
    assert "secret" not in repr(block) + repr(block.connect())


def test_prefect_that_does_not_answer_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("blocks.site_ispyb.has_prefect_api", lambda: True)
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(DatabaseUnavailable, match="PLAZA_ISPYB_URL"),
    ):
        connect(Settings(home=tmp_path, ispyb_url=None))
