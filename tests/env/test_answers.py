"""Final answers are compared by what they come to."""

from superalign_env.answers import final_answer


def test_worked_steps_do_not_matter_for_agreement():
    assert final_answer("3 + 4 = 7 ; 7 * 2 = 4 ans 4") == final_answer("ans 4") == "4"
    assert final_answer("rev b a ans b  a c d") == "b a c d"
    assert final_answer("The plans are fine") == "the plans are fine"
    assert final_answer("") == final_answer(" \n ") == ""
    assert final_answer("It is B, since A is odd.\n\n(B).\n") == final_answer("B") == "b"
