"""Acme is moved between plans at odd instants: there and back within a second, in the grace of an invoice, and from a
monthly plan to a yearly one.

Growth costs 49.00 a month and includes 10 simple conversations, a further one costs 1.00; scale costs 199.00, includes
40, and a further one costs 0.50. By the year growth costs 490.00 and includes 12, scale 1,990.00 and 48.
"""

import pytest

from tests.cast import a_plan, acme
from tests.stories.ledger_of_a_year import Year, simple_at

pytestmark = pytest.mark.django_db


def test_a_year_of_moves() -> None:
    growth, scale = (
        a_plan("growth", **simple_at("49.00", 10, "1.00")),
        a_plan("scale", **simple_at("199.00", 40, "0.50")),
    )
    growth_yearly = a_plan("growth-yearly", **simple_at("490.00", 12, "1.00", interval="year"))
    scale_yearly = a_plan("scale-yearly", **simple_at("1990.00", 48, "0.50", interval="year"))
    year = Year(acme())
    year.begins(growth, "2027-01-01 00:00:00")
    year.uses(10, settled="2027-01-15 12:00:00")
    year.says(
        """
        invoice 1, start, 01 Jan 2027 to 31 Jan 2027
          Growth, base fee 01 Jan 2027 to 31 Jan 2027                   49.00
          total                                                         49.00
          due                                                           49.00
        invoice 2, cycle, 01 Jan 2027 to 31 Jan 2027
          Growth, base fee 01 Feb 2027 to 28 Feb 2027                   49.00
          10 simple conversations: 10 included = 0.00 USD                0.00
          total                                                         49.00
          due                                                           49.00
        """,
        at="2027-02-01 01:00:00",
    )

    year.uses(3, settled="2027-02-05 12:00:00")
    year.moves(scale, "2027-02-10 03:04:05")
    year.uses(2, settled="2027-02-10 03:04:05")
    year.moves(growth, "2027-02-10 03:04:06", when="now")
    year.uses(15, settled="2027-02-20 12:00:00")
    year.moves(scale, "2027-03-01 00:00:01")
    year.says(
        """
        # 9 days and 3:04:05 are 788,645 of the 2,419,200 seconds of February.
        # Growth  49.00 x 788,645 / 2,419,200 = 15.9737 -> 15.97;  49.00 - 15.97 =  33.03
        # Scale  199.00 x 788,645 / 2,419,200 = 64.8728 -> 64.87; 199.00 - 64.87 = 134.13
        invoice 3, change, 01 Feb 2027 to 28 Feb 2027
          Growth, base fee 10 Feb 2027 to 28 Feb 2027, not used        -33.03
          Scale, base fee 10 Feb 2027 to 28 Feb 2027                   134.13
          total                                                        101.10
          due                                                          101.10

        # A second later it is 64.8729 and 15.9737: the second on scale costs less than half a cent.
        invoice 4, change, 01 Feb 2027 to 28 Feb 2027
          Scale, base fee 10 Feb 2027 to 28 Feb 2027, not used        -134.13
          Growth, base fee 10 Feb 2027 to 28 Feb 2027                   33.03
          total                                                       -101.10
          due                                                            0.00

        # Included: 10 + (40 - 10) / 2,419,200 is a little more than 10 -> 11; 3 + 2 are used when the last 15 come.
        invoice 5, cycle, 01 Feb 2027 to 28 Feb 2027
          Growth, base fee 01 Mar 2027 to 31 Mar 2027                   49.00
          3 simple conversations: 3 included = 0.00 USD                  0.00
          2 simple conversations: 2 included = 0.00 USD                  0.00
          15 simple conversations: 6 included, 9 x 1.00 = 9.00 USD       9.00
          total                                                         58.00
          from credit                                                   58.00
          due                                                            0.00

        # The move in the first second of March waits for the invoice of February, in whose grace it falls.
        # A second of growth, 49.00 / 2,678,400, is no cent. Credit: 101.10 - 58.00 = 43.10.
        invoice 6, change, 01 Mar 2027 to 31 Mar 2027
          Growth, base fee 01 Mar 2027 to 31 Mar 2027, not used        -49.00
          Scale, base fee 01 Mar 2027 to 31 Mar 2027                   199.00
          total                                                        150.00
          from credit                                                   43.10
          due                                                          106.90
        """,
        at="2027-03-01 01:00:00",
    )

    year.uses(45, settled="2027-03-20 12:00:00")
    year.moves(growth, "2027-03-31 23:59:59", when="now")
    year.uses(12, settled="2027-04-20 12:00:00")
    year.says(
        """
        # The last second of March on growth is worth no cent either, and no invoice.
        # Included: (10 x 2 + 40 x 2,678,398) / 2,678,400 is a little less than 40 -> 40.
        invoice 7, cycle, 01 Mar 2027 to 31 Mar 2027
          Growth, base fee 01 Apr 2027 to 30 Apr 2027                   49.00
          45 simple conversations: 40 included, 5 x 0.50 = 2.50 USD      2.50
          total                                                         51.50
          due                                                           51.50
        invoice 8, cycle, 01 Apr 2027 to 30 Apr 2027
          Growth, base fee 01 May 2027 to 31 May 2027                   49.00
          12 simple conversations: 10 included, 2 x 1.00 = 2.00 USD      2.00
          total                                                         51.00
          due                                                           51.00
        """,
        at="2027-05-01 01:00:00",
    )

    year.uses(9, settled="2027-05-10 12:00:00")
    year.moves(growth_yearly, "2027-05-20 14:30:07", when="now")
    year.says(
        """
        # Another interval ends the month and begins a year.
        # 19 days and 14:30:07 are 1,693,807 of 2,678,400 seconds: 49.00 x 0.632395 = 30.9874 -> 30.99; 18.01 are left.
        # Included: 10 x 0.632395 = 6.32 -> 7.
        invoice 9, cycle, 01 May 2027 to 20 May 2027
          Growth-Yearly, base fee 20 May 2027 to 20 May 2028           490.00
          Growth, base fee 20 May 2027 to 31 May 2027, not used        -18.01
          9 simple conversations: 7 included, 2 x 1.00 = 2.00 USD        2.00
          total                                                        473.99
          due                                                          473.99
        """
    )

    year.uses(20, settled="2027-12-24 23:59:59")
    year.moves(scale_yearly, "2027-12-25 00:00:00")
    year.uses(10, settled="2028-02-29 12:00:00")
    year.says(
        """
        # The year to 20 May 2028 has a 29 February: 366 days, 31,622,400 seconds.
        # From 20 May, 14:30:07, to 25 December are 219 days less 14:30:07, 18,869,393 seconds: 0.596710 of it.
        # Growth   490.00 x 0.596710 =   292.3878 ->   292.39;   490.00 -   292.39 = 197.61
        # Scale  1,990.00 x 0.596710 = 1,187.4523 -> 1,187.45; 1,990.00 - 1,187.45 = 802.55
        invoice 10, change, 20 May 2027 to 20 May 2028
          Growth-Yearly, base fee 25 Dec 2027 to 20 May 2028, not used  -197.61
          Scale-Yearly, base fee 25 Dec 2027 to 20 May 2028            802.55
          total                                                        604.94
          due                                                          604.94

        # Included: 12 x 0.596710 + 48 x 0.403290 = 26.52 -> 27, of which 20 were used before Christmas.
        invoice 11, cycle, 20 May 2027 to 20 May 2028
          Scale-Yearly, base fee 20 May 2028 to 20 May 2029           1990.00
          20 simple conversations: 20 included = 0.00 USD                0.00
          10 simple conversations: 7 included, 3 x 0.50 = 1.50 USD       1.50
          total                                                       1991.50
          due                                                         1991.50
        """,
        at="2028-05-20 15:30:07",
    )

    # Base fees 3 x 49.00 (January, February, April) + 199.00 (March) + 30.99 + 292.39 + 802.55 + 1,990.00 = 3,461.93
    # Usage     9.00 + 2.50 + 2.00 + 2.00 + 1.50 = 17.00
    year.ends("2028-05-20 16:00:00", total="3478.93")
