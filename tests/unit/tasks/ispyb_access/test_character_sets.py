"""What is written for characters that a database's character set doesn't have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.ispyb_access.character_sets import first_unknown, replace_unencodable


@pytest.mark.parametrize(
    ("text", "latin1", "ascii_"),
    [
        ("3.2 Å, 90.2°, 5 µm², “so” – €5", "3.2 Å, 90.2°, 5 µm², “so” – €5", "3.2 A, 90.2?, 5 mum2, ?so? ? ?5"),
        ("I/σ(I) ≥ 1.5", "I/sigma(I) >= 1.5", "I/sigma(I) >= 1.5"),
        ("Δφ, χ² and ω", "Deltaphi, chi² and omega", "Deltaphi, chi2 and omega"),
        ("μm, Å (Angstrom sign), A\u030a", "µm, Å (Angstrom sign), Å", "mum, A (Angstrom sign), A"),
        ("T = −173 °C", "T = -173 °C", "T = -173 ?C"),
        ("Dvořák Łódź", "Dvorák ?ódz", "Dvorak ?odz"),
        ("𝛔 of ς", "sigma of sigma", "sigma of sigma"),
        ("晶体 🧊", "?? ?", "?? ?"),
    ],
)
def test_it_is_as_readable_as_can_be(text, latin1, ascii_):
    assert replace_unencodable(text, "latin1") == latin1
    assert replace_unencodable(text, "ascii") == ascii_


@pytest.mark.parametrize("character_set", ["utf8", "utf8mb3"])
def test_three_bytes_hold_all_but_the_latest(character_set):
    assert replace_unencodable("σ Å 晶体 🧊", character_set) == "σ Å 晶体 ?"


@given(st.text(), st.sampled_from(["latin1", "ascii", "utf8mb3", "utf8mb4"]))
def test_whatever_is_replaced_can_be_held(text, character_set):
    replaced = replace_unencodable(text, character_set)
    assert first_unknown(replaced, character_set) is None
    assert replace_unencodable(replaced, character_set) == replaced
    if first_unknown(text, character_set) is None:
        assert replaced == text
