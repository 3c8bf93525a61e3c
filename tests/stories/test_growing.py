"""Acme grows: a monthly plan, more than its allowance, a dearer plan within a month, then that plan's next version.

Growth costs 49.00 a month and includes 10 simple conversations, a further one costs 1.00; scale costs 199.00, includes
40, and a further one costs 0.50; its second version costs 219.00, includes 60, and a further one costs 0.40. A standard
conversation costs 2.00 in all of them. Periods begin on the 15th, at 9:30.
"""

import pytest

from plans.publishing import draft_plan_version, publish_plan_version
from tests.cast import NOON, a_plan, acme, raw_terms
from tests.stories.ledger_of_a_year import Year, simple_at

pytestmark = pytest.mark.django_db


def test_a_year_of_growth() -> None:
    growth, scale = (
        a_plan("growth", **simple_at("49.00", 10, "1.00")),
        a_plan("scale", **simple_at("199.00", 40, "0.50")),
    )
    year = Year(acme())
    year.begins(growth, "2027-01-15 09:30")
    year.says(
        """
        invoice 1, start, 15 Jan 2027 to 15 Feb 2027
          Growth, base fee 15 Jan 2027 to 15 Feb 2027                   49.00
          total                                                         49.00
          due                                                           49.00
        """,
        at="2027-01-15 09:30",
    )

    year.uses(8, settled="2027-01-20 12:00")
    year.says(
        """
        invoice 2, cycle, 15 Jan 2027 to 15 Feb 2027
          Growth, base fee 15 Feb 2027 to 15 Mar 2027                   49.00
          8 simple conversations: 8 included = 0.00 USD                  0.00
          total                                                         49.00
          due                                                           49.00
        """,
        at="2027-02-15 10:30",
    )

    year.uses(14, settled="2027-03-01 08:00")
    year.uses(1, "standard", settled="2027-03-02 08:00")
    year.says(
        """
        invoice 3, cycle, 15 Feb 2027 to 15 Mar 2027
          Growth, base fee 15 Mar 2027 to 15 Apr 2027                   49.00
          14 simple conversations: 10 included, 4 x 1.00 = 4.00 USD      4.00
          1 standard conversation: 1 x 2.00 = 2.00 USD                   2.00
          total                                                         55.00
          due                                                           55.00
        """,
        at="2027-03-15 10:30",
    )

    year.uses(10, settled="2027-04-15 09:29:59")
    year.says(
        """
        # The tenth of ten came in the last second of the period, and is still included.
        invoice 4, cycle, 15 Mar 2027 to 15 Apr 2027
          Growth, base fee 15 Apr 2027 to 15 May 2027                   49.00
          10 simple conversations: 10 included = 0.00 USD                0.00
          total                                                         49.00
          due                                                           49.00
        """,
        at="2027-04-15 10:30",
    )

    year.uses(7, settled="2027-04-20 12:00")
    year.moves(scale, "2027-04-27 16:45:13")
    year.uses(30, settled="2027-05-10 12:00")
    year.says(
        """
        # From 15 April, 9:30:00, to 27 April, 16:45:13, are 12 days and 7:15:13:
        # 1,062,913 of the 2,592,000 seconds of 30 days.
        # Growth  49.00 x 1,062,913 / 2,592,000 =  20.0936 ->  20.09;  49.00 -  20.09 =  28.91 was not used.
        # Scale  199.00 x 1,062,913 / 2,592,000 =  81.6048 ->  81.60; 199.00 -  81.60 = 117.40 is the rest.
        invoice 5, change, 15 Apr 2027 to 15 May 2027
          Growth, base fee 27 Apr 2027 to 15 May 2027, not used        -28.91
          Scale, base fee 27 Apr 2027 to 15 May 2027                   117.40
          total                                                         88.49
          due                                                           88.49

        # Included: 10 x 0.41007 + 40 x 0.58993 = 27.70 -> 28, of which 7 were used on growth.
        invoice 6, cycle, 15 Apr 2027 to 15 May 2027
          Scale, base fee 15 May 2027 to 15 Jun 2027                   199.00
          7 simple conversations: 7 included = 0.00 USD                  0.00
          30 simple conversations: 21 included, 9 x 0.50 = 4.50 USD      4.50
          total                                                        203.50
          due                                                          203.50
        """,
        at="2027-05-15 10:30",
    )

    year.uses(52, settled="2027-06-01 12:00")
    year.says(
        """
        invoice 7, cycle, 15 May 2027 to 15 Jun 2027
          Scale, base fee 15 Jun 2027 to 15 Jul 2027                   199.00
          52 simple conversations: 40 included, 12 x 0.50 = 6.00 USD     6.00
          total                                                        205.00
          due                                                          205.00
        """,
        at="2027-06-15 10:30",
    )

    year.hears_late(2, settled="2027-06-15 09:29:59", heard="2027-06-20 12:00")
    year.uses(45, settled="2027-07-01 12:00")
    year.says(
        """
        invoice 8, cycle, 15 Jun 2027 to 15 Jul 2027
          Scale, base fee 15 Jul 2027 to 15 Aug 2027                   199.00
          45 simple conversations: 40 included, 5 x 0.50 = 2.50 USD      2.50
          # 54 conversations instead of 52: (54 - 40) x 0.50 = 7.00, of which 6.00 are on invoice 7.
          Usage of 15 May 2027 to 15 Jun 2027 that changed after invoice INV-000007: 7.00 instead of 6.00 USD   1.00
          total                                                        202.50
          due                                                          202.50
        """,
        at="2027-07-15 10:30",
    )

    year.uses(60, settled="2027-08-01 12:00")
    year.says(
        """
        invoice 9, cycle, 15 Jul 2027 to 15 Aug 2027
          Scale, base fee 15 Aug 2027 to 15 Sep 2027                   199.00
          60 simple conversations: 40 included, 20 x 0.50 = 10.00 USD   10.00
          total                                                        209.00
          due                                                          209.00
        """,
        at="2027-08-15 10:30",
    )

    publish_plan_version(
        draft_plan_version(scale, raw_terms=raw_terms(**simple_at("219.00", 60, "0.40")), now=NOON), now=NOON
    )
    year.moves(scale, "2027-08-20 11:11:11", when="period_end")
    year.uses(70, settled="2027-09-01 12:00")
    year.says(
        """
        # Until the period ends, the first version holds: 40 included, 0.50.
        invoice 10, cycle, 15 Aug 2027 to 15 Sep 2027
          Scale, base fee 15 Sep 2027 to 15 Oct 2027                   219.00
          70 simple conversations: 40 included, 30 x 0.50 = 15.00 USD   15.00
          total                                                        234.00
          due                                                          234.00
        """,
        at="2027-09-15 10:30",
    )

    year.uses(75, settled="2027-10-01 12:00")
    year.uses(61, settled="2027-11-01 12:00")
    year.uses(80, settled="2027-12-01 12:00")
    year.uses(100, settled="2028-01-01 12:00")
    year.says(
        """
        invoice 11, cycle, 15 Sep 2027 to 15 Oct 2027
          Scale, base fee 15 Oct 2027 to 15 Nov 2027                   219.00
          75 simple conversations: 60 included, 15 x 0.40 = 6.00 USD     6.00
          total                                                        225.00
          due                                                          225.00
        invoice 12, cycle, 15 Oct 2027 to 15 Nov 2027
          Scale, base fee 15 Nov 2027 to 15 Dec 2027                   219.00
          61 simple conversations: 60 included, 1 x 0.40 = 0.40 USD      0.40
          total                                                        219.40
          due                                                          219.40
        invoice 13, cycle, 15 Nov 2027 to 15 Dec 2027
          Scale, base fee 15 Dec 2027 to 15 Jan 2028                   219.00
          80 simple conversations: 60 included, 20 x 0.40 = 8.00 USD     8.00
          total                                                        227.00
          due                                                          227.00
        invoice 14, cycle, 15 Dec 2027 to 15 Jan 2028
          Scale, base fee 15 Jan 2028 to 15 Feb 2028                   219.00
          100 simple conversations: 60 included, 40 x 0.40 = 16.00 USD  16.00
          total                                                        235.00
          due                                                          235.00
        """,
        at="2028-01-15 10:30",
    )

    # Base fees 3 x 49.00 + 20.09 + 117.40 + 4 x 199.00 + 5 x 219.00 = 2,175.49
    # Usage     6.00 + 4.50 + 7.00 + 2.50 + 10.00 + 15.00 + 6.00 + 0.40 + 8.00 + 16.00 = 75.40
    year.ends("2028-01-15 12:00", total="2250.89")
