"""Filters that people type: what they mean, what is wrong with them, what gets through."""

import duckdb
import hypothesis
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from lit_tl.store.filters import Condition, FilterError, Known, lookup_in, parse_filter

COLUMNS = {
    "loss": Known('"loss"', "number"),
    "answer_rank": Known('"answer_rank"', "number"),
    "text": Known('"text"', "text"),
    "truncated": Known('"truncated"', "boolean"),
    "a b": Known('"a b"', "number"),
    "heads[1,3]": Known('"heads[1,3]"', "number"),
    "gpt2.loss": Known('"gpt2.loss"', "number"),
}
TABLE = pa.table(
    {
        "loss": [1.0, 3.5, None, 4.0, -2.0],
        "answer_rank": [1, 2, 3, None, 5],
        "text": ["it is not", "NOT so", "a 'quote'", 'a "quote"', None],
        "truncated": [True, False, False, None, True],
        "a b": [1.0, 2.0, 3.0, 4.0, 5.0],
        "heads[1,3]": [0.1, 0.2, 0.3, 0.4, 0.5],
        "gpt2.loss": [5.0, 4.0, 3.0, 2.0, 1.0],
    }
)
LOOKUP = lookup_in(COLUMNS)


def rows_of(condition: Condition) -> list[int]:
    """Which rows of the table a condition lets through."""
    connection = duckdb.connect(":memory:")
    numbered = TABLE.append_column("n", pa.array(range(len(TABLE))))
    connection.register("t", numbered)
    sql = f"SELECT n FROM t WHERE {condition.sql} ORDER BY n"
    return [row for (row,) in connection.execute(sql, list(condition.values)).fetchall()]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", [0, 1, 2, 3, 4]),
        ("loss > 3", [1, 3]),
        ("loss >= 3.5 and answer_rank = 2", [1]),
        ('text has "not"', [0]),
        ('loss > 3 or text has "not"', [0, 1, 3]),
        ('loss < 0 or loss > 3 and text has "quote"', [3, 4]),
        ('(loss < 0 or loss > 3) and text has "quote"', [3]),
        ("not loss > 3", [0, 2, 4]),
        ("not not loss > 3", [1, 3]),
        ("loss is missing", [2]),
        ("loss is not missing and text is missing", [4]),
        ("loss between -2 and 1", [0, 4]),
        ("loss between 1.5 and 3.5 and answer_rank < 5", [1]),
        ("truncated = true", [0, 4]),
        ("truncated != true", [1, 2]),
        ('text starts with "NOT"', [1]),
        ('text ends with "so" OR text ENDS WITH "not"', [0, 1]),
        ("text has \"'quote'\"", [2]),
        ('text has "\\"quote\\""', [3]),
        ("answer_rank in (1, 3, 9)", [0, 2]),
        ('text in ("it is not", "NOT so")', [0, 1]),
        ("`a b` > 4", [4]),
        ("heads[1, 3] >= 0.4", [3, 4]),
        ("gpt2.loss > 4", [0]),
        ("loss == 1e0", [0]),
    ],
)
def test_filters_mean_what_they_say(text: str, rows: list[int]) -> None:
    assert rows_of(parse_filter(text, LOOKUP)) == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("loss >", "ends where a number should stand"),
        ("loss > high", "at character 8, 'high': loss is a number"),
        ("los > 3", "there is no column los: did you mean loss?"),
        ("text > 3", "text is a text: compare it by ="),
        ("text has 3", 'such as "3"'),
        ("loss has 'x'", "loss is a number, and `has` is for texts"),
        ("loss > 3 text has 'x'", "at character 10, 'text': `and` or `or` may stand here"),
        ("(loss > 3", "ends where `)` should stand"),
        ("loss > 3)", "at character 9"),
        ("loss ~ 3", "'~' can't be read"),
        ("text has 'open", "a quote that is not closed"),
        ("truncated > true", "truncated is true or false: compare it by ="),
        ("heads > 1", "heads is an array: say which number of it, as heads[1,3]"),
        ("heads[9,9] > 1", "there is no column heads[9,9]: did you mean heads[1,3]?"),
        ("3 < loss", "a column's name may stand here"),
        ("loss between 1", "ends where `and` should stand"),
        ("loss is 3", "`missing` may stand here"),
        ("and", "there is no column and"),
        ("(" * 60 + "loss > 1" + ")" * 60, "nested more than 50 times"),
        ("not " * 60 + "loss > 1", "nested more than 50 times"),
        ("loss > 1 or " * 2000 + "loss > 1", "at most 10,000 are read"),
        ("SELECT 1 FROM t", "there is no column SELECT"),
        ("loss > 1; DROP TABLE t", "';' can't be read"),
        ("loss > (SELECT 1)", "loss is a number"),
        ('"loss" > 1', "a column's name may stand here"),
    ],
)
def test_a_mistake_is_said_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(text, LOOKUP)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@hypothesis.given(st.text(max_size=60))
@hypothesis.settings(max_examples=500, deadline=None)
def test_any_text_is_a_filter_or_a_sentence(text: str) -> None:
    """Nothing of it but names of columns becomes SQL."""
    try:
        condition = parse_filter(text, LOOKUP)
    except FilterError:
        return
    assert set(rows_of(condition)) <= set(range(len(TABLE)))


@hypothesis.given(st.text(max_size=40))
@hypothesis.settings(max_examples=300, deadline=None)
def test_a_text_in_quotes_is_a_parameter(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    condition = parse_filter(f'text = "{quoted}"', LOOKUP)
    assert condition == Condition('"text" = ?', (value,))


@hypothesis.given(
    st.recursive(
        st.sampled_from(["loss > 1", 'text has "o"', "truncated = false", "answer_rank in (1,2)"]),
        lambda inner: st.one_of(
            inner.map(lambda text: f"not ({text})"),
            st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
                lambda parts: f"({parts[0]}) {parts[1]} ({parts[2]})"
            ),
        ),
        max_leaves=8,
    )
)
@hypothesis.settings(max_examples=200, deadline=None)
def test_not_lets_through_what_the_filter_does_not(text: str) -> None:
    every = set(range(len(TABLE)))
    through = set(rows_of(parse_filter(text, LOOKUP)))
    assert set(rows_of(parse_filter(f"not ({text})", LOOKUP))) == every - through
