"""Turns that are seldom taken together: a year that becomes months, a pause over a move, a trial with a move or a pause
in it, and a first period that is a part of a month.
"""

from typing import Any

import pytest

from plans.models import Plan
from tests.cast import a_plan, acme
from tests.stories.ledger_of_a_year import Year, simple_at

pytestmark = pytest.mark.django_db


def small(**more: Any) -> Plan:
    """30.00 a month, 10 simple conversations are included."""
    return a_plan("small", **simple_at("30.00", 10, "1.00", **more))


def large(base_fee: str) -> Plan:
    """40 are included."""
    return a_plan("large", **simple_at(base_fee, 40, "0.50"))


def test_a_year_becomes_months() -> None:
    """From 1 January to 15 March are 73 days, a fifth of a year."""
    year = Year(acme())
    year.begins(a_plan("yearly", **simple_at("365.00", 12, "1.00", interval="year")), "2027-01-01 00:00")
    year.uses(5, settled="2027-03-14 23:59:59")
    year.says(
        """
        invoice 1, start, 01 Jan 2027 to 31 Dec 2027
          Yearly, base fee 01 Jan 2027 to 31 Dec 2027              365.00
          total                                                    365.00
          due                                                      365.00
        """,
        at="2027-01-01 00:00",
    )
    year.moves(large("49.00"), "2027-03-15 00:00:00", when="now")
    year.uses(43, settled="2027-03-20 12:00")
    year.says(
        """
        # 365.00 x 4 / 5 = 292.00 was not used. Included: 12 / 5 = 2.4 -> 3.
        invoice 2, cycle, 01 Jan 2027 to 14 Mar 2027
          Large, base fee 15 Mar 2027 to 14 Apr 2027                49.00
          Yearly, base fee 15 Mar 2027 to 31 Dec 2027, not used   -292.00
          5 simple conversations: 3 included, 2 x 1.00 = 2.00 USD    2.00
          total                                                   -241.00
          due                                                        0.00
        invoice 3, cycle, 15 Mar 2027 to 14 Apr 2027
          Large, base fee 15 Apr 2027 to 14 May 2027                49.00
          43 simple conversations: 40 included, 3 x 0.50 = 1.50 USD  1.50
          total                                                     50.50
          from credit                                               50.50
          due                                                        0.00
        """,
        at="2027-04-15 01:00",
    )
    # 73.00 + 2.00 + 49.00 + 1.50 + 49.00 = 174.50; 241.00 - 50.50 = 190.50
    year.ends("2027-04-15 01:30", total="174.50", credit="190.50")


def test_a_pause_over_a_move() -> None:
    """Small costs 1.00 a day of June, large 3.00. The move comes in the pause, and shows when it ends."""
    year = Year(acme())
    year.begins(small(), "2027-06-01 00:00")
    year.moves(large("90.00"), "2027-06-02 00:00", when=year.instant("2027-06-10 00:00"))
    year.uses(2, settled="2027-06-03 12:00")
    year.pauses("2027-06-05 00:00")
    year.uses(3, settled="2027-06-12 12:00")
    year.resumes("2027-06-15 00:00")
    year.uses(20, settled="2027-06-20 12:00")
    year.says(
        """
        invoice 1, start, 01 Jun 2027 to 30 Jun 2027
          Small, base fee 01 Jun 2027 to 30 Jun 2027                  30.00
          total                                                       30.00
          due                                                         30.00
        invoice 2, change, 01 Jun 2027 to 30 Jun 2027
          Small, base fee 05 Jun 2027 to 30 Jun 2027, not used       -26.00
          total                                                      -26.00
          due                                                          0.00
        invoice 3, change, 01 Jun 2027 to 30 Jun 2027
          Large, base fee 15 Jun 2027 to 30 Jun 2027                  48.00
          total                                                       48.00
          from credit                                                 26.00
          due                                                         22.00

        # Included: 10 x 4 / 30 + 40 x 16 / 30 = 22.67 -> 23. The three in the pause are large's already.
        invoice 4, cycle, 01 Jun 2027 to 30 Jun 2027
          Large, base fee 01 Jul 2027 to 31 Jul 2027                  90.00
          2 simple conversations: 2 included = 0.00 USD                0.00
          3 simple conversations: 3 included = 0.00 USD                0.00
          20 simple conversations: 18 included, 2 x 0.50 = 1.00 USD    1.00
          total                                                       91.00
          due                                                         91.00
        """,
        at="2027-07-01 01:00",
    )
    # 4.00 + 48.00 + 1.00 + 90.00
    year.ends("2027-07-01 01:30", total="143.00")


def test_a_move_in_a_trial() -> None:
    """Nothing is due for the 14 days, on whatever plan; from 15 January on 17 of 31 days at 3.00."""
    year = Year(acme())
    year.begins(small(trial_days=14), "2027-01-01 00:00")
    year.moves(large("93.00"), "2027-01-08 00:00")
    year.uses(30, settled="2027-01-10 12:00")
    year.says("", at="2027-01-14 23:59:59")
    year.says(
        """
        invoice 1, change, 01 Jan 2027 to 31 Jan 2027
          Large, base fee 15 Jan 2027 to 31 Jan 2027                  51.00
          total                                                       51.00
          due                                                         51.00

        # Usage in this trial is billed, and so the allowance accrues: 10 x 7 / 31 + 40 x 24 / 31 = 33.2 -> 34.
        invoice 2, cycle, 01 Jan 2027 to 31 Jan 2027
          Large, base fee 01 Feb 2027 to 28 Feb 2027                  93.00
          30 simple conversations: 30 included = 0.00 USD              0.00
          total                                                       93.00
          due                                                         93.00
        """,
        at="2027-02-01 01:00",
    )
    year.ends("2027-02-01 01:30", total="144.00")


def test_a_pause_over_the_end_of_a_trial() -> None:
    """From 20 January on 12 of 31 days at 1.00."""
    year = Year(acme())
    year.begins(a_plan("large", **simple_at("31.00", 31, "1.00", trial_days=14)), "2027-01-01 00:00")
    year.pauses("2027-01-10 00:00")
    year.says("", at="2027-01-19 23:59:59")
    year.resumes("2027-01-20 00:00")
    year.uses(23, settled="2027-01-25 12:00")
    year.says(
        """
        invoice 1, change, 01 Jan 2027 to 31 Jan 2027
          Large, base fee 20 Jan 2027 to 31 Jan 2027                  12.00
          total                                                       12.00
          due                                                         12.00

        # Included: 9 days of the trial and 12 days after the pause, 1 a day.
        invoice 2, cycle, 01 Jan 2027 to 31 Jan 2027
          Large, base fee 01 Feb 2027 to 28 Feb 2027                  31.00
          23 simple conversations: 21 included, 2 x 1.00 = 2.00 USD    2.00
          total                                                       33.00
          due                                                         33.00
        """,
        at="2027-02-01 01:00",
    )
    year.ends("2027-02-01 01:30", total="45.00")


def test_a_first_period_that_is_a_part_of_a_month() -> None:
    """From 21 January to 1 February are 11 of 31 days: 31.00 and at least 62.00 a month are 11.00 and 22.00."""
    year = Year(acme())
    plan = a_plan("small", **simple_at("31.00", 10, "1.00", minimum="62.00"))
    year.begins(plan, "2027-01-21 00:00", anchor="2027-02-01 00:00")
    year.uses(6, settled="2027-01-25 12:00")
    year.cancels("2027-02-10 12:00", when="period_end")
    year.says(
        """
        invoice 1, start, 21 Jan 2027 to 31 Jan 2027
          Small, base fee 21 Jan 2027 to 31 Jan 2027                  11.00
          total                                                       11.00
          due                                                         11.00

        # Included: 10 x 11 / 31 = 3.55 -> 4.
        invoice 2, cycle, 21 Jan 2027 to 31 Jan 2027
          Small, base fee 01 Feb 2027 to 28 Feb 2027                  31.00
          6 simple conversations: 4 included, 2 x 1.00 = 2.00 USD      2.00
          minimum 22.00 - 13.00 = 9.00 USD                             9.00
          total                                                       42.00
          due                                                         42.00
        invoice 3, cycle, 01 Feb 2027 to 28 Feb 2027
          minimum 62.00 - 31.00 = 31.00 USD                           31.00
          total                                                       31.00
          due                                                         31.00
        """,
        at="2027-03-01 01:00",
    )
    year.ends("2027-03-01 01:30", total="84.00")


def test_a_move_between_equal_fees_costs_no_cent() -> None:
    """Both cost 49.01. Half of it is 24.505 -> 24.51, and the other half is what is left, not another 24.51."""
    year = Year(acme())
    year.begins(a_plan("blue", **simple_at("49.01", 10, "1.00")), "2027-06-01 00:00")
    year.moves(a_plan("green", **simple_at("49.01", 10, "1.00")), "2027-06-16 00:00", when="now")
    year.says(
        """
        invoice 1, start, 01 Jun 2027 to 30 Jun 2027
          Blue, base fee 01 Jun 2027 to 30 Jun 2027                   49.01
          total                                                       49.01
          due                                                         49.01
        invoice 2, change, 01 Jun 2027 to 30 Jun 2027
          Blue, base fee 16 Jun 2027 to 30 Jun 2027, not used        -24.50
          Green, base fee 16 Jun 2027 to 30 Jun 2027                  24.50
          total                                                        0.00
          due                                                          0.00
        """
    )
    year.ends("2027-06-16 01:00", total="49.01")
