"""Acme shrinks, in Berlin: a cheaper plan from the end of a month, then an end within a month, in which clocks go back.

Scale costs 199.00 a month, includes 40 simple conversations, and a further one costs 0.50; growth costs 49.00, includes
10, and a further one costs 1.00.
"""

import pytest

from tests.cast import a_plan, acme
from tests.stories.ledger_of_a_year import Year, simple_at

pytestmark = pytest.mark.django_db


def test_a_year_of_less_and_less() -> None:
    growth = a_plan("growth", **simple_at("49.00", 10, "1.00"))
    year = Year(acme(timezone="Europe/Berlin"))
    year.begins(a_plan("scale", **simple_at("199.00", 40, "0.50")), "2027-01-01 00:00")
    year.uses(44, settled="2027-01-31 23:59:59")
    year.uses(35, settled="2027-02-01 00:00:00")
    year.uses(20, settled="2027-03-28 03:00:00")
    year.says(
        """
        invoice 1, start, 01 Jan 2027 to 31 Jan 2027
          Scale, base fee 01 Jan 2027 to 31 Jan 2027                   199.00
          total                                                        199.00
          due                                                          199.00
        invoice 2, cycle, 01 Jan 2027 to 31 Jan 2027
          Scale, base fee 01 Feb 2027 to 28 Feb 2027                   199.00
          44 simple conversations: 40 included, 4 x 0.50 = 2.00 USD      2.00
          total                                                        201.00
          due                                                          201.00
        invoice 3, cycle, 01 Feb 2027 to 28 Feb 2027
          Scale, base fee 01 Mar 2027 to 31 Mar 2027                   199.00
          35 simple conversations: 35 included = 0.00 USD                0.00
          total                                                        199.00
          due                                                          199.00
        invoice 4, cycle, 01 Mar 2027 to 31 Mar 2027
          Scale, base fee 01 Apr 2027 to 30 Apr 2027                   199.00
          20 simple conversations: 20 included = 0.00 USD                0.00
          total                                                        199.00
          due                                                          199.00
        """,
        at="2027-04-01 01:00",
    )

    year.moves(growth, "2027-04-12 15:00")
    year.uses(41, settled="2027-04-30 23:59:59")
    year.uses(12, settled="2027-05-01 00:00:00")
    year.uses(10, settled="2027-06-15 12:00:00")
    year.uses(9, settled="2027-07-15 12:00:00")
    year.uses(11, settled="2027-08-15 12:00:00")
    year.uses(3, settled="2027-09-15 12:00:00")
    year.says(
        """
        # What is cheaper waits for the end of the month: April is priced as scale, to its last second.
        invoice 5, cycle, 01 Apr 2027 to 30 Apr 2027
          Growth, base fee 01 May 2027 to 31 May 2027                   49.00
          41 simple conversations: 40 included, 1 x 0.50 = 0.50 USD      0.50
          total                                                         49.50
          due                                                           49.50
        invoice 6, cycle, 01 May 2027 to 31 May 2027
          Growth, base fee 01 Jun 2027 to 30 Jun 2027                   49.00
          12 simple conversations: 10 included, 2 x 1.00 = 2.00 USD      2.00
          total                                                         51.00
          due                                                           51.00
        invoice 7, cycle, 01 Jun 2027 to 30 Jun 2027
          Growth, base fee 01 Jul 2027 to 31 Jul 2027                   49.00
          10 simple conversations: 10 included = 0.00 USD                0.00
          total                                                         49.00
          due                                                           49.00
        invoice 8, cycle, 01 Jul 2027 to 31 Jul 2027
          Growth, base fee 01 Aug 2027 to 31 Aug 2027                   49.00
          9 simple conversations: 9 included = 0.00 USD                  0.00
          total                                                         49.00
          due                                                           49.00
        invoice 9, cycle, 01 Aug 2027 to 31 Aug 2027
          Growth, base fee 01 Sep 2027 to 30 Sep 2027                   49.00
          11 simple conversations: 10 included, 1 x 1.00 = 1.00 USD      1.00
          total                                                         50.00
          due                                                           50.00
        invoice 10, cycle, 01 Sep 2027 to 30 Sep 2027
          Growth, base fee 01 Oct 2027 to 31 Oct 2027                   49.00
          3 simple conversations: 3 included = 0.00 USD                  0.00
          total                                                         49.00
          due                                                           49.00
        """,
        at="2027-10-01 01:00",
    )

    year.uses(5, settled="2027-10-09 12:00:00")
    # Its last call was at 12:00 on the day of the end; it is still open, and ends with the subscription.
    year.hears_late(1, settled="2027-10-11 12:00:00", heard="2027-10-10 13:00:00")
    year.cancels("2027-10-10 18:30:00", when="now")
    year.says(
        """
        # October has 31 days and, as clocks go back on the 31st, an hour more: 745 hours. 9 days and 18:30 are 234.5.
        # 49.00 x 234.5 / 745 = 15.4235 -> 15.42; 49.00 - 15.42 = 33.58 was not used.
        # Included: 10 x 234.5 / 745 = 3.15 -> 4.
        invoice 11, cycle, 01 Oct 2027 to 10 Oct 2027
          Growth, base fee 10 Oct 2027 to 31 Oct 2027, not used        -33.58
          6 simple conversations: 4 included, 2 x 1.00 = 2.00 USD        2.00
          total                                                        -31.58
          due                                                            0.00
        """
    )

    year.hears_late(1, settled="2027-10-09 12:00:00", heard="2027-10-12 12:00:00")
    year.says(
        """
        # We owe 31.58, which pays for the one that was reported after the end.
        invoice 12, adjustment, 01 Oct 2027 to 10 Oct 2027
          Usage of 01 Oct 2027 to 10 Oct 2027 that changed after invoice INV-000011: 3.00 instead of 2.00 USD   1.00
          total                                                          1.00
          from credit                                                    1.00
          due                                                            0.00
        """,
        at="2027-10-12 13:00",
    )

    # Base fees 4 x 199.00 + 5 x 49.00 + 15.42 = 1,056.42
    # Usage     2.00 + 0.50 + 2.00 + 1.00 + 3.00 =  8.50
    year.ends("2028-01-01 01:00", total="1064.92", credit="30.58")
