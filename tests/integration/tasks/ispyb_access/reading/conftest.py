"""Rows in ISPyB, whichever database the tests of a file use."""

import pytest
from sqlalchemy.orm import Session


@pytest.fixture
def add(engine):
    def add(*rows):
        with Session(engine, expire_on_commit=False) as session:
            session.add_all(rows)
            session.commit()
        return rows[0]

    return add
