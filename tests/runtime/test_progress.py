"""Progress through stages, and the bar that people ask for with True."""

from morpheus_lite.runtime.resources import part_of, shown_progress


def test_a_part_goes_from_its_beginning_to_its_end():
    seen = []
    advance = part_of(lambda *step: seen.append(step), 0.2, 0.6)
    for done in range(5):
        advance(done, 4)
    assert seen == [(200, 1000), (300, 1000), (400, 1000), (500, 1000), (600, 1000)]
    assert part_of(None, 0, 1) is None


def test_a_callable_is_passed_on_and_false_is_nothing():
    with shown_progress(print, "field") as advance:
        assert advance is print
    for nothing in (None, False):
        with shown_progress(nothing, "field") as advance:
            assert advance is None


def test_true_draws_a_bar(capsys):
    with shown_progress(True, "field") as advance:
        advance(500, 1000)
        advance(1000, 1000)
    assert "field:" in capsys.readouterr().err


def test_a_name_is_not_taken_for_markup(capsys):
    with shown_progress(True, "field[sci][/b]") as advance:
        advance(1000, 1000)
    assert "field[sci][/b]:" in capsys.readouterr().err
