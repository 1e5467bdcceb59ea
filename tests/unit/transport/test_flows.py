"""When the source of an answer continues that a client of HTTP/3 has not taken so far."""

from tests.support.native import native

MANY = 5 << 20  # more than a session may have unacknowledged


def test_a_source_continues_when_enough_was_taken() -> None:
    goes_on = native("flows").goes_on
    assert goes_on(waiting=0, unacknowledged=1000, of_others=0)
    assert not goes_on(waiting=60_000, unacknowledged=1000, of_others=0)
    assert not goes_on(waiting=0, unacknowledged=2 << 20, of_others=0)
    assert not goes_on(waiting=0, unacknowledged=1000, of_others=MANY)


def test_one_of_which_all_was_taken_does_not_wait_for_others() -> None:
    """Nothing of it is on its way, so nothing would have it continue later."""
    assert native("flows").goes_on(waiting=0, unacknowledged=0, of_others=MANY)
