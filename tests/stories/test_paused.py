"""Acme pauses twice, once over the ends of two months and once within one, and goes on having conversations.

Growth costs 49.00 a month and includes 10 simple conversations; a further one costs 1.00, a standard one 2.00. Periods
begin on the 10th, at 6:00. In a pause no fee and no allowance accrue; what is used all the same is priced.
"""

import pytest

from tests.cast import a_plan, acme
from tests.stories.ledger_of_a_year import Year, simple_at

pytestmark = pytest.mark.django_db


def test_a_year_with_two_pauses() -> None:
    year = Year(acme())
    year.begins(a_plan("growth", **simple_at("49.00", 10, "1.00")), "2027-01-10 06:00")
    year.uses(10, settled="2027-01-20 12:00")
    year.uses(12, settled="2027-02-20 12:00")
    year.says(
        """
        invoice 1, start, 10 Jan 2027 to 10 Feb 2027
          Growth, base fee 10 Jan 2027 to 10 Feb 2027                   49.00
          total                                                         49.00
          due                                                           49.00
        invoice 2, cycle, 10 Jan 2027 to 10 Feb 2027
          Growth, base fee 10 Feb 2027 to 10 Mar 2027                   49.00
          10 simple conversations: 10 included = 0.00 USD                0.00
          total                                                         49.00
          due                                                           49.00
        invoice 3, cycle, 10 Feb 2027 to 10 Mar 2027
          Growth, base fee 10 Mar 2027 to 10 Apr 2027                   49.00
          12 simple conversations: 10 included, 2 x 1.00 = 2.00 USD      2.00
          total                                                         51.00
          due                                                           51.00
        """,
        at="2027-03-10 07:00",
    )

    year.uses(2, settled="2027-03-12 12:00")
    year.pauses("2027-03-15 18:00:00")
    year.uses(3, settled="2027-03-20 12:00")
    year.uses(1, "standard", settled="2027-04-20 12:00")
    year.says(
        """
        # From 10 March, 6:00, to 15 March, 18:00, are 132 of 744 hours.
        # 49.00 x 132 / 744 = 8.6935 -> 8.69; 49.00 - 8.69 = 40.31 was not used, and is ours to give back.
        invoice 4, change, 10 Mar 2027 to 10 Apr 2027
          Growth, base fee 15 Mar 2027 to 10 Apr 2027, not used        -40.31
          total                                                        -40.31
          due                                                            0.00

        # Included: 10 x 132 / 744 = 1.77 -> 2, which were used before the pause.
        invoice 5, cycle, 10 Mar 2027 to 10 Apr 2027
          2 simple conversations: 2 included = 0.00 USD                  0.00
          3 simple conversations: 3 x 1.00 = 3.00 USD                    3.00
          total                                                          3.00
          from credit                                                    3.00
          due                                                            0.00

        invoice 6, cycle, 10 Apr 2027 to 10 May 2027
          1 standard conversation: 1 x 2.00 = 2.00 USD                   2.00
          total                                                          2.00
          from credit                                                    2.00
          due                                                            0.00
        """,
        at="2027-05-10 07:00",
    )

    year.uses(2, settled="2027-05-12 12:00")
    year.resumes("2027-05-20 06:00:00")
    year.uses(8, settled="2027-06-01 12:00")
    year.says(
        """
        # 21 of 31 days are left: 49.00 - 49.00 x 10 / 31 (15.8065 -> 15.81) = 33.19.
        invoice 7, change, 10 May 2027 to 10 Jun 2027
          Growth, base fee 20 May 2027 to 10 Jun 2027                   33.19
          total                                                         33.19
          from credit                                                   33.19
          due                                                            0.00

        # Included: 10 x 21 / 31 = 6.77 -> 7, used in order of time: 2 in the pause, 5 after it.
        # Credit: 40.31 - 3.00 - 2.00 - 33.19 = 2.12.
        invoice 8, cycle, 10 May 2027 to 10 Jun 2027
          Growth, base fee 10 Jun 2027 to 10 Jul 2027                   49.00
          2 simple conversations: 2 included = 0.00 USD                  0.00
          8 simple conversations: 5 included, 3 x 1.00 = 3.00 USD        3.00
          total                                                         52.00
          from credit                                                    2.12
          due                                                           49.88
        """,
        at="2027-06-10 07:00",
    )

    year.uses(10, settled="2027-07-01 12:00")
    year.uses(15, settled="2027-08-01 12:00")
    year.says(
        """
        invoice 9, cycle, 10 Jun 2027 to 10 Jul 2027
          Growth, base fee 10 Jul 2027 to 10 Aug 2027                   49.00
          10 simple conversations: 10 included = 0.00 USD                0.00
          total                                                         49.00
          due                                                           49.00
        invoice 10, cycle, 10 Jul 2027 to 10 Aug 2027
          Growth, base fee 10 Aug 2027 to 10 Sep 2027                   49.00
          15 simple conversations: 10 included, 5 x 1.00 = 5.00 USD      5.00
          total                                                         54.00
          due                                                           54.00
        """,
        at="2027-08-10 07:00",
    )

    year.uses(1, settled="2027-08-10 12:00")
    year.pauses("2027-08-11 00:00:00")
    year.uses(2, settled="2027-08-20 12:00")
    year.resumes("2027-08-30 12:00:00")
    year.uses(4, settled="2027-09-01 12:00")
    year.says(
        """
        # The pause begins after 18 of 744 hours: 49.00 x 18 / 744 = 1.1855 -> 1.19; 49.00 - 1.19 = 47.81.
        invoice 11, change, 10 Aug 2027 to 10 Sep 2027
          Growth, base fee 11 Aug 2027 to 10 Sep 2027, not used        -47.81
          total                                                        -47.81
          due                                                            0.00

        # It ends after 486 of them: 49.00 - 49.00 x 486 / 744 (32.0081 -> 32.01) = 16.99.
        invoice 12, change, 10 Aug 2027 to 10 Sep 2027
          Growth, base fee 30 Aug 2027 to 10 Sep 2027                   16.99
          total                                                         16.99
          from credit                                                   16.99
          due                                                            0.00

        # Included: 10 x (18 + 258) / 744 = 3.71 -> 4. Credit: 47.81 - 16.99 = 30.82.
        invoice 13, cycle, 10 Aug 2027 to 10 Sep 2027
          Growth, base fee 10 Sep 2027 to 10 Oct 2027                   49.00
          1 simple conversation: 1 included = 0.00 USD                   0.00
          2 simple conversations: 2 included = 0.00 USD                  0.00
          4 simple conversations: 1 included, 3 x 1.00 = 3.00 USD        3.00
          total                                                         52.00
          from credit                                                   30.82
          due                                                           21.18
        """,
        at="2027-09-10 07:00",
    )

    year.uses(11, settled="2027-10-20 12:00")
    year.uses(10, settled="2027-11-20 12:00")
    year.uses(12, settled="2027-12-20 12:00")
    year.says(
        """
        invoice 14, cycle, 10 Sep 2027 to 10 Oct 2027
          Growth, base fee 10 Oct 2027 to 10 Nov 2027                   49.00
          total                                                         49.00
          due                                                           49.00
        invoice 15, cycle, 10 Oct 2027 to 10 Nov 2027
          Growth, base fee 10 Nov 2027 to 10 Dec 2027                   49.00
          11 simple conversations: 10 included, 1 x 1.00 = 1.00 USD      1.00
          total                                                         50.00
          due                                                           50.00
        invoice 16, cycle, 10 Nov 2027 to 10 Dec 2027
          Growth, base fee 10 Dec 2027 to 10 Jan 2028                   49.00
          10 simple conversations: 10 included = 0.00 USD                0.00
          total                                                         49.00
          due                                                           49.00
        invoice 17, cycle, 10 Dec 2027 to 10 Jan 2028
          Growth, base fee 10 Jan 2028 to 10 Feb 2028                   49.00
          12 simple conversations: 10 included, 2 x 1.00 = 2.00 USD      2.00
          total                                                         51.00
          due                                                           51.00
        """,
        at="2028-01-10 07:00",
    )

    # Base fees 49.00 + 49.00 + 8.69 + 0.00 + 33.19 + 49.00 + 49.00 + (1.19 + 16.99) + 5 x 49.00 = 501.06
    # Usage     2.00 + 3.00 + 2.00 + 3.00 + 5.00 + 3.00 + 1.00 + 2.00 = 21.00
    year.ends("2028-01-10 08:00", total="522.06")
