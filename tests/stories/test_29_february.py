"""Who begins on the last day of a long month, and who on 29 February?

Acme's yearly plan costs 365.00 and includes 12 simple conversations, its dearer one costs 730.00 and includes 24;
by the month it is 29.00 or 58.00. A further conversation costs 1.00. In a leap year's period of 366 days a day of the
yearly plan costs less than 1.00.
"""

import pytest

from tests.cast import a_plan, acme, bolt
from tests.stories.ledger_of_a_year import Year, simple_at

pytestmark = pytest.mark.django_db


def test_four_years_since_29_february() -> None:
    year = Year(acme())
    year.begins(a_plan("small", **simple_at("365.00", 12, "1.00", interval="year")), "2028-02-29 12:00:00")
    year.uses(14, settled="2028-12-31 12:00:00")
    year.uses(1, settled="2029-02-28 11:59:59")
    year.uses(1, settled="2029-02-28 12:00:00")
    large = a_plan("large", **simple_at("730.00", 24, "1.00", interval="year"))
    year.says(
        """
        invoice 1, start, 29 Feb 2028 to 28 Feb 2029
          Small, base fee 29 Feb 2028 to 28 Feb 2029                   365.00
          total                                                        365.00
          due                                                          365.00

        # 2029, 2030 and 2031 have no 29 February: their periods begin on the 28th, at 12:00.
        invoice 2, cycle, 29 Feb 2028 to 28 Feb 2029
          Small, base fee 28 Feb 2029 to 28 Feb 2030                   365.00
          15 simple conversations: 12 included, 3 x 1.00 = 3.00 USD      3.00
          total                                                        368.00
          due                                                          368.00
        invoice 3, cycle, 28 Feb 2029 to 28 Feb 2030
          Small, base fee 28 Feb 2030 to 28 Feb 2031                   365.00
          1 simple conversation: 1 included = 0.00 USD                   0.00
          total                                                        365.00
          due                                                          365.00
        invoice 4, cycle, 28 Feb 2030 to 28 Feb 2031
          Small, base fee 28 Feb 2031 to 29 Feb 2032                   365.00
          total                                                        365.00
          due                                                          365.00
        """,
        at="2031-02-28 13:00:00",
    )

    year.moves(large, "2031-08-30 12:00:00")
    year.uses(20, settled="2031-12-31 12:00:00")
    year.says(
        """
        # The period to 29 February 2032 has 366 days, and 30 August, 12:00, is its middle: 183 days.
        invoice 5, change, 28 Feb 2031 to 29 Feb 2032
          Small, base fee 30 Aug 2031 to 29 Feb 2032, not used        -182.50
          Large, base fee 30 Aug 2031 to 29 Feb 2032                   365.00
          total                                                        182.50
          due                                                          182.50

        # Included: 12 / 2 + 24 / 2 = 18. The next period has 365 days again, from 29 February to 28 February.
        invoice 6, cycle, 28 Feb 2031 to 29 Feb 2032
          Large, base fee 29 Feb 2032 to 28 Feb 2033                   730.00
          20 simple conversations: 18 included, 2 x 1.00 = 2.00 USD      2.00
          total                                                        732.00
          due                                                          732.00
        """,
        at="2032-02-29 13:00:00",
    )

    # Base fees 3 x 365.00 + 182.50 + 365.00 + 730.00 = 2,372.50; usage 3.00 + 2.00 = 5.00
    year.ends("2032-02-29 13:30:00", total="2377.50")


def test_a_year_of_months_since_31_january() -> None:
    """In Berlin, from midnight to midnight."""
    year = Year(bolt(timezone="Europe/Berlin"))
    year.begins(a_plan("small", **simple_at("29.00", 12, "1.00")), "2028-01-31 00:00:00")
    year.moves(a_plan("large", **simple_at("58.00", 24, "1.00")), "2028-02-10 00:00:00")
    year.uses(22, settled="2028-02-28 23:59:59")
    year.uses(26, settled="2028-02-29 00:00:00")
    year.says(
        """
        invoice 1, start, 31 Jan 2028 to 28 Feb 2028
          Small, base fee 31 Jan 2028 to 28 Feb 2028                    29.00
          total                                                         29.00
          due                                                           29.00

        # From 31 January to 29 February are 29 days: 1.00 and 2.00 a day. 19 are left.
        invoice 2, change, 31 Jan 2028 to 28 Feb 2028
          Small, base fee 10 Feb 2028 to 28 Feb 2028, not used         -19.00
          Large, base fee 10 Feb 2028 to 28 Feb 2028                    38.00
          total                                                         19.00
          due                                                           19.00

        # Included: (12 x 10 + 24 x 19) / 29 = 19.86 -> 20.
        invoice 3, cycle, 31 Jan 2028 to 28 Feb 2028
          Large, base fee 29 Feb 2028 to 30 Mar 2028                    58.00
          22 simple conversations: 20 included, 2 x 1.00 = 2.00 USD      2.00
          total                                                         60.00
          due                                                           60.00
        invoice 4, cycle, 29 Feb 2028 to 30 Mar 2028
          Large, base fee 31 Mar 2028 to 29 Apr 2028                    58.00
          26 simple conversations: 24 included, 2 x 1.00 = 2.00 USD      2.00
          total                                                         60.00
          due                                                           60.00
        """,
        at="2028-03-31 01:00:00",
    )
    year.says(
        "\n".join(
            f"""
            invoice {number}, cycle, {ended}
              Large, base fee {begins}  58.00
              total                     58.00
              due                       58.00
            """
            for number, ended, begins in (
                (5, "31 Mar 2028 to 29 Apr 2028", "30 Apr 2028 to 30 May 2028"),
                (6, "30 Apr 2028 to 30 May 2028", "31 May 2028 to 29 Jun 2028"),
                (7, "31 May 2028 to 29 Jun 2028", "30 Jun 2028 to 30 Jul 2028"),
                (8, "30 Jun 2028 to 30 Jul 2028", "31 Jul 2028 to 30 Aug 2028"),
                (9, "31 Jul 2028 to 30 Aug 2028", "31 Aug 2028 to 29 Sep 2028"),
                (10, "31 Aug 2028 to 29 Sep 2028", "30 Sep 2028 to 30 Oct 2028"),
                (11, "30 Sep 2028 to 30 Oct 2028", "31 Oct 2028 to 29 Nov 2028"),
                (12, "31 Oct 2028 to 29 Nov 2028", "30 Nov 2028 to 30 Dec 2028"),
                (13, "30 Nov 2028 to 30 Dec 2028", "31 Dec 2028 to 30 Jan 2029"),
                (14, "31 Dec 2028 to 30 Jan 2029", "31 Jan 2029 to 27 Feb 2029"),
            )
        ),
        at="2029-01-31 01:00:00",
    )

    year.pauses("2029-02-14 00:00:00")
    year.says(
        """
        # From 31 January to 28 February 2029 are 28 days, of which 14 are left.
        invoice 15, change, 31 Jan 2029 to 27 Feb 2029
          Large, base fee 14 Feb 2029 to 27 Feb 2029, not used         -29.00
          total                                                        -29.00
          due                                                            0.00
        """
    )

    # 29.00 + 19.00 + 2 x 60.00 + 10 x 58.00 - 29.00 = 719.00
    year.ends("2029-02-14 01:00:00", total="719.00", credit="29.00")
