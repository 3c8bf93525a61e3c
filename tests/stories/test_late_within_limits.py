"""What is heard late, and what of it is taken back, costs what it would have cost in time: within limits, nothing.

Acme's plan costs 30.00 a month and 1.00 a simple conversation; a month comes to 50.00 at least and 60.00 at most.
"""

import pytest

from metering.corrections import void_event
from tests.cast import a_plan, acme
from tests.stories.ledger_of_a_year import Year, simple_at

pytestmark = pytest.mark.django_db


def test_half_a_year_of_news_about_january() -> None:
    year = Year(acme())
    year.begins(
        a_plan("limited", **simple_at("30.00", 0, "1.00", minimum="50.00", maximum="60.00")), "2027-01-01 00:00"
    )
    year.uses(5, settled="2027-01-10 12:00")
    year.comes_to("2027-02-01 01:00")
    year.hears_late(10, settled="2027-01-10 12:00", heard="2027-02-05 12:00")
    year.comes_to("2027-03-01 01:00")
    year.hears_late(20, settled="2027-01-31 23:59:59", heard="2027-03-05 12:00")
    year.comes_to("2027-04-01 01:00")
    year.hears_late(100, settled="2027-01-15 12:00", heard="2027-04-05 12:00")
    year.comes_to("2027-05-01 01:00")
    for number in range(16, 136):
        void_event(acme(), f"acme-{number}", reason="tests", now=year.instant("2027-05-05 12:00"))
    year.says(
        """
        invoice 1, start, 01 Jan 2027 to 31 Jan 2027
          Limited, base fee 01 Jan 2027 to 31 Jan 2027        30.00
          total                                               30.00
          due                                                 30.00
        invoice 2, cycle, 01 Jan 2027 to 31 Jan 2027
          Limited, base fee 01 Feb 2027 to 28 Feb 2027        30.00
          5 simple conversations: 5 x 1.00 = 5.00 USD          5.00
          minimum 50.00 - 35.00 = 15.00 USD                   15.00
          total                                               50.00
          due                                                 50.00

        # 15 in January would have been 45.00, less than the minimum: nothing more is due.
        invoice 3, cycle, 01 Feb 2027 to 28 Feb 2027
          Limited, base fee 01 Mar 2027 to 31 Mar 2027        30.00
          minimum 50.00 - 30.00 = 20.00 USD                   20.00
          total                                               50.00
          due                                                 50.00

        # 35 would have been 65.00, of which 60.00 are due: 30.00 beside the base fee, and 20.00 are billed.
        invoice 4, cycle, 01 Mar 2027 to 31 Mar 2027
          Limited, base fee 01 Apr 2027 to 30 Apr 2027        30.00
          Usage of 01 Jan 2027 to 31 Jan 2027 that changed after invoice INV-000002: 30.00 instead of 20.00 USD  10.00
          minimum 50.00 - 30.00 = 20.00 USD                   20.00
          total                                               60.00
          due                                                 60.00

        # A hundred more cost nothing.
        invoice 5, cycle, 01 Apr 2027 to 30 Apr 2027
          Limited, base fee 01 May 2027 to 31 May 2027        30.00
          minimum 50.00 - 30.00 = 20.00 USD                   20.00
          total                                               50.00
          due                                                 50.00

        # All but the first 15 were tests, and are taken back: 45.00 again, and the minimum.
        invoice 6, cycle, 01 May 2027 to 31 May 2027
          Limited, base fee 01 Jun 2027 to 30 Jun 2027        30.00
          Usage of 01 Jan 2027 to 31 Jan 2027 that changed after invoice INV-000002: 20.00 instead of 30.00 USD  -10.00
          minimum 50.00 - 30.00 = 20.00 USD                   20.00
          total                                               40.00
          due                                                 40.00
        """,
        at="2027-06-01 01:00",
    )
    # Five months at the minimum, and June in advance: 5 x 50.00 + 30.00
    year.ends("2027-06-01 01:30", total="280.00")
