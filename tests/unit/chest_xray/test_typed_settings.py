import re
from dataclasses import dataclass
from typing import ClassVar

import pytest
import yaml

from chest_xray.typed_settings import SettingError, TypedSettings, setting


@dataclass(frozen=True)
class Example(TypedSettings):
    part: ClassVar[str] = "example"
    prefix: ClassVar[str] = "EXAMPLE_"

    count: int = setting(2, "how many", unit="pieces", most=9)
    level: int = setting(0, "how high", least=0)
    share: float = setting(0.5, "how much")
    loud: bool = setting(False, "whether anyone hears it")
    colour: str = setting("red", "of it", check={"red", "blue"}.__contains__, expected="a colour")
    codes: tuple[str, ...] = setting(
        ("a1",), "that open it", check=re.compile(r"[a-z]\d").fullmatch, expected="a code"
    )
    limit: int | None = setting(None, "none by default")


@dataclass(frozen=True)
class Closed(Example):
    owns_prefix: ClassVar[bool] = True


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 10}, "example setting count: expected a whole number of pieces from 1 to 9, "
                        "got 10"),
        ({"count": 0}, "example setting count: expected a whole number of pieces from 1 to 9, "
                       "got 0"),
        ({"level": -1}, "example setting level: expected a whole number, 0 or more, got -1"),
        ({"share": "0.5"}, "example setting share: expected a positive number, got '0.5'"),
        ({"share": float("inf")}, "example setting share: expected a positive number, got inf"),
        ({"loud": 1}, "example setting loud: expected true or false, got 1"),
        ({"colour": "green"}, "example setting colour: expected a colour, got 'green'"),
        ({"colour": None}, "example setting colour: expected a colour, got None"),
        ({"codes": ["a1", "A1"]}, "example setting codes: expected a list, each item a code, "
                                  "got ('a1', 'A1')"),
        ({"codes": "a1"}, "example setting codes: expected a list, each item a code, got 'a1'"),
        ({"limit": 0}, "example setting limit: expected a positive whole number, got 0"),
        ({"cuont": 1}, "unknown example setting cuont; did you mean count?"),
        ({"size": 1}, "unknown example setting size: expected count, level, share, loud, colour, "
                      "codes, limit"),
        ({3: 1}, "unknown example setting 3: expected count, level, share, loud, colour, codes, "
                 "limit"),
        (["count"], "example settings: expected names with values, got ['count']"),
    ],
)  # fmt: skip
def test_a_wrong_value_of_a_file_is_told_in_one_line(values, message):
    with pytest.raises(SettingError) as error:
        Example.load(values, {})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("COUNT", "ten", "EXAMPLE_COUNT: expected a whole number of pieces from 1 to 9, got 'ten'"),
        ("COUNT", "10", "EXAMPLE_COUNT: expected a whole number of pieces from 1 to 9, got '10'"),
        ("SHARE", "nan", "EXAMPLE_SHARE: expected a positive number, got 'nan'"),
        ("LOUD", "yes", "EXAMPLE_LOUD: expected true or false, got 'yes'"),
        ("CODES", "a1,\nb", "EXAMPLE_CODES: expected a list, each item a code, got 'a1,\\nb'"),
        ("LIMIT", "", "EXAMPLE_LIMIT: expected a positive whole number, got ''"),
        ("COLOURS", "red", "unknown setting EXAMPLE_COLOURS; did you mean EXAMPLE_COLOUR?"),
    ],
)
def test_a_wrong_variable_is_told_in_one_line(variable, text, message):
    with pytest.raises(SettingError) as error:
        Example.load({}, {f"EXAMPLE_{variable}": text})
    assert str(error.value) == message


def test_the_environment_overrides_the_file_and_what_is_chosen_overrides_both():
    loaded = Example.load(
        {"count": 3, "codes": ["b2"], "share": 1, "loud": True},
        {"EXAMPLE_COUNT": " 4 ", "EXAMPLE_CODES": "c3, d4,", "EXAMPLE_LIMIT": "5"},
        loud=False,
    )
    assert loaded == Example(count=4, codes=("c3", "d4"), share=1, limit=5)


@pytest.mark.parametrize("values", [None, {}])
def test_without_values_the_defaults_stay(values):
    assert Example.load(values, {"OTHER_COUNT": "x", "EXAMPLE": "x"}) == Example()


@pytest.mark.parametrize("variable", ["EXAMPLE_SERVICE_HOST", "EXAMPLE_PORT", "EXAMPLE_RUN_DIR"])
def test_others_may_use_a_prefix_that_is_not_ours_alone(variable):
    assert Example.load({}, {variable: "x"}) == Example()
    with pytest.raises(SettingError, match=variable):
        Closed.load({}, {variable: "x"})


def test_the_comments_are_yaml_with_the_defaults():
    text = Example.as_comments("  ")
    assert yaml.safe_load("top:\n" + text) == {"top": None}
    shown = "\n".join(re.findall(r"^  # (\w+: .*?)  +#", text, re.MULTILINE))
    values = {**yaml.safe_load(shown), "limit": None}
    assert Example.load(values, {}) == Example()
    assert "# count: 2 " in text
    assert "# how many (pieces)\n" in text
    assert max(map(len, text.splitlines())) <= 100
