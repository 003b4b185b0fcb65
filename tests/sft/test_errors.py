import pickle
from functools import partial

import pytest

from sft import errors

TREE = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.SftError)]


@pytest.mark.parametrize("cls", TREE, ids=lambda c: c.__name__)
def test_each_error_survives_pickling_with_its_context(cls: type[errors.SftError]) -> None:
    error = cls("tags must alternate", where="train.jsonl:7", value="mask, mask", remedy="add the answer")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert vars(copy) == vars(error)
    assert str(copy) == "train.jsonl:7: tags must alternate (found mask, mask). Next: add the answer"


@pytest.mark.parametrize("cls", TREE, ids=lambda c: c.__name__)
def test_wrong_input_exits_2_and_everything_else_1(cls: type[errors.SftError]) -> None:
    assert cls.exit_code == (2 if issubclass(cls, errors.InputError) else 1)


@pytest.mark.parametrize("cls", TREE, ids=lambda c: c.__name__)
def test_the_docstring_draws_each_error(cls: type[errors.SftError]) -> None:
    assert cls.__name__ in (errors.__doc__ or "")


def test_what_several_checks_find_is_one_error_with_a_line_each() -> None:
    def finds(text: str, cls: type[errors.SftError] = errors.InputError) -> None:
        raise cls(text, remedy="mend it")

    errors.check_all(lambda: None)
    with pytest.raises(errors.DatasetError) as alone:
        errors.check_all(lambda: None, lambda: finds("one", errors.DatasetError))
    assert str(alone.value) == "one. Next: mend it"
    nested = partial(errors.check_all, lambda: finds("two"), lambda: finds("three:\n  - a\n"))
    with pytest.raises(errors.InputError) as caught:
        errors.check_all(lambda: finds("one", errors.DatasetError), nested, lambda: finds("two"))
    told = ["3 problems:", "  - one. Next: mend it", "  - two. Next: mend it", "  - three:", "      - a"]
    assert str(caught.value).splitlines() == [*told, "    Next: mend it", "Next: correct them and run again"]
    with pytest.raises(errors.TransientError):  # no mistake of who typed it: it is not waited with
        errors.check_all(lambda: finds("away", errors.TransientError), lambda: finds("one"))
