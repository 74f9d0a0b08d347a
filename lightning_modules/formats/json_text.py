"""Reads JSON that may be broken: a value, or one ValueError that says what is wrong. It knows no files."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def parse(content: bytes) -> Any:
    """The value that a JSON document in UTF-8 holds. Raises ValueError for anything else, whatever the reason."""
    try:
        return json.loads(content.decode(), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is no UTF-8") from None
    except json.JSONDecodeError as error:
        what = "it is empty" if not content.strip() else f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise ValueError(what) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:  # an integer of thousands of digits, or what `_no_number` says
        raise ValueError(str(error).partition(";")[0]) from None


def _no_number(written: str) -> NoReturn:
    raise ValueError(f"{written} is no number of JSON")
