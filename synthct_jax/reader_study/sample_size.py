"""The number of readers and cases that show equivalence to guessing."""

import math

import scipy.special

from synthct_jax.reader_study.settings import CASE_SD, READER_SD

POWER = 0.8
READERS = (3, 4, 5, 6, 8, 10, 12, 15)
_MOST_CASES = 2000


def check_margin(margin: float) -> None:
    """Raise ValueError for a margin of equivalence outside 0 to 0.5."""
    if not 0 < margin < 0.5:
        raise ValueError(f"--margin={margin:g}, expected above 0 and below 0.5")


def accuracy_variance(
    readers: int, cases: int, *, reader_sd: float, case_sd: float
) -> tuple[float, float]:
    """Return the variance of the mean accuracy, and its part that is due to readers.

    Args:
        readers, cases: numbers of them; every reader answers every case once.
        reader_sd: standard deviation of the accuracy between readers.
        case_sd: of the share of all readers who are right, between cases.

    Returns:
        The variance at a true accuracy of 1/2, and that part of it that shrinks with
        the number of readers.
    """
    answer = 0.25 - reader_sd**2 - case_sd**2
    of_readers = (reader_sd**2 + answer / cases) / readers
    return of_readers + case_sd**2 / cases, of_readers


def power(
    readers: int, cases: int, *, margin: float, reader_sd: float, case_sd: float
) -> float:
    """Return the probability that a study of guessing readers shows equivalence.

    The arguments are those of `accuracy_variance` and `cases_needed`.
    """
    variance, of_readers = accuracy_variance(
        readers, cases, reader_sd=reader_sd, case_sd=case_sd
    )
    freedom = (readers - 1) * (variance / of_readers) ** 2
    reach = margin / math.sqrt(variance) - scipy.special.stdtrit(freedom, 0.95)
    return max(0.0, 2 * float(scipy.special.ndtr(reach)) - 1)


def cases_needed(
    readers: int,
    *,
    margin: float,
    reader_sd: float = READER_SD,
    case_sd: float = CASE_SD,
) -> int | None:
    """Return the least even number of cases whose power is `POWER`.

    Half of them are real and half synthetic; of two-alternative trials it is the number
    of pairs.

    Args:
        margin: distance of the accuracy from 1/2 that counts as equivalent.

    Returns:
        None if 2,000 cases are too few for so few readers.

    Raises:
        ValueError: a value is outside its domain, which is named.
    """
    check_margin(margin)
    for name, value in (("reader_sd", reader_sd), ("case_sd", case_sd)):
        if not 0 <= value <= 0.3:
            raise ValueError(f"--{name}={value:g}, expected 0 to 0.3")
    spread = {"margin": margin, "reader_sd": reader_sd, "case_sd": case_sd}
    for cases in range(4, _MOST_CASES + 1, 2):
        if power(readers, cases, **spread) >= POWER:
            return cases
    return None


def format_plan(
    *, margin: float, reader_sd: float = READER_SD, case_sd: float = CASE_SD
) -> str:
    """Return a table of readers and cases for a terminal.

    The arguments and errors are those of `cases_needed`.
    """
    lines = [
        f"To show that the accuracy is within {100 * margin:g} points of 50 %, at a "
        f"level of 5 %,",
        f"with a power of {100 * POWER:g} % if readers guess. Between readers the "
        f"accuracy has a",
        f"standard deviation of {100 * reader_sd:g} points, between cases of "
        f"{100 * case_sd:g} points.",
        "",
        "readers   cases for each, half of them synthetic",
    ]
    for readers in READERS:
        cases = cases_needed(
            readers, margin=margin, reader_sd=reader_sd, case_sd=case_sd
        )
        lines.append(f"{readers:7}   {cases or f'more than {_MOST_CASES}'}")
    return "\n".join(lines)
