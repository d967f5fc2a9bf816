"""Byte offset is decoded to the counts that were encoded, with and without native code, or refused with the reason."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.diffraction.kernel import byte_offset, decode_byte_offset
from tasks.diffraction.kernel.compiled import COMPILED

PROCESSORS = COMPILED.PROCESSORS if COMPILED else ()


def encode(counts):
    """Return counts as CBF's byte offset has them."""
    stream, last = bytearray(), 0
    for count in map(int, counts):
        step, last = (count - last + 2**31) % 2**32 - 2**31, count
        if -0x80 < step < 0x80:
            stream += step.to_bytes(1, "little", signed=True)
        elif -0x8000 < step < 0x8000:
            stream += b"\x80" + step.to_bytes(2, "little", signed=True)
        else:
            stream += b"\x80\x00\x80" + step.to_bytes(4, "little", signed=True)
    return bytes(stream)


def answers(data, pixels):
    """Return what each way of decoding makes of a stream: counts and bytes used, or why it's refused."""
    found = []
    for way in (*PROCESSORS, "python"):
        counts = np.zeros(pixels, np.int32)
        try:
            if way == "python":
                used = byte_offset._decode_in_python(np.frombuffer(data, np.uint8), counts)
            else:
                used = byte_offset._decode_compiled(data, counts, way)
            found.append((counts.tolist(), used))
        except ValueError as error:
            found.append(str(error))
    return found


steps = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([-(2**31), -0x8000, -0x7FFF, 0x7FFF, 0x8000, -0x81, -0x80, -0x7F, 0x7F, 0x80]),
    st.integers(-(2**31), 2**31 - 1),
)


@given(st.lists(steps, min_size=1, max_size=80), st.integers(0, 3))
def test_what_was_encoded_is_decoded(chosen, quiet):
    spread = [step for each in chosen for step in (each, *[1, -1, 0][:quiet] * 7)]  # also runs of single bytes
    counts = np.cumsum(spread).astype(np.int64).astype(np.int32)
    data = encode(counts)
    assert set(map(str, answers(data, counts.size))) == {str((counts.tolist(), len(data)))}


@given(st.binary(max_size=200), st.integers(1, 150))
def test_any_bytes_are_decoded_or_refused_alike(data, pixels):
    first, *others = answers(data, pixels)
    assert others == [first] * len(others)


@given(st.lists(st.sampled_from([0, 1, 127, 128, 255]), max_size=120), st.integers(1, 60))
def test_streams_full_of_markers_are_decoded_or_refused_alike(data, pixels):
    first, *others = answers(bytes(data), pixels)
    assert others == [first] * len(others)


def test_a_stream_that_is_cut_off_is_refused_wherever_it_ends():
    data = encode([1, 300, 100_000, 2, 3] * 8)
    for length in range(len(data)):
        for answer in answers(data[:length], 40):
            assert isinstance(answer, str), length
            assert "its data end at pixel" in answer


@pytest.mark.dials
def test_the_longest_step_is_one_of_32_bits_as_in_dxtbx():
    """To CBF in general it announces one of 64 bits."""
    from dxtbx.ext import compress, uncompress
    from scitbx.array_family import flex

    counts = [2**31 - 1, -1, -(2**31), -(2**31), 0, 5, -(2**31) + 4]
    data = compress(flex.int(counts))
    assert data.count(b"\x80\x00\x80\x00\x00\x00\x80") == 2
    assert list(uncompress(packed=data, slow=1, fast=len(counts))) == counts
    for answer in answers(data, len(counts)):
        assert answer == (counts, len(data))


def test_what_follows_the_image_is_left():
    for answer in answers(b"\1\1\1" + bytes(50), 3):
        assert answer == ([1, 2, 3], 3)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
@pytest.mark.parametrize("without_native_code", [False, True])
def test_an_image_is_decoded_from_any_buffer(kind, without_native_code, monkeypatch):
    if without_native_code:
        monkeypatch.setattr(byte_offset, "COMPILED", None)
    counts = np.zeros((2, 3), np.int32)
    assert decode_byte_offset(kind(encode([1, 2, 3, 400, 5, 6])), counts) == 10
    assert counts.tolist() == [[1, 2, 3], [400, 5, 6]]


@pytest.mark.parametrize(
    "counts", [np.zeros(6, np.uint32), np.zeros(6, ">i4"), np.zeros((6, 2), np.int32)[:, 0], np.zeros(6, np.int64)]
)
def test_arrays_that_counts_do_not_fit_are_refused(counts):
    with pytest.raises(ValueError, match="array of int32"):
        decode_byte_offset(b"\1" * 6, counts)


def test_without_native_code_an_image_takes_little_more_than_its_own_memory():
    counts = np.zeros(1_000_000, np.int32)
    data = np.frombuffer(encode([5] * counts.size), np.uint8)
    tracemalloc.start()
    try:
        byte_offset._decode_in_python(data, counts)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert counts.tolist() == [5] * counts.size
    assert peak < counts.nbytes / 2
