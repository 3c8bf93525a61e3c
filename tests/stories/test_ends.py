"""What is billed of a subscription that ends within the grace of an invoice, and of a customer who comes back?

By the month small costs 30.00 and includes 10 simple conversations, a further one costs 1.00; large includes 40.
"""

import pytest

from tests.cast import a_plan, acme
from tests.stories.ledger_of_a_year import Year, simple_at

pytestmark = pytest.mark.django_db


def test_an_end_in_the_grace_of_an_invoice() -> None:
    """An hour of March costs 1.00. It ends after half of one, while the invoice of February waits for its grace."""
    year = Year(acme())
    year.begins(a_plan("small", **simple_at("744.00", 10, "1.00")), "2027-02-01 00:00")
    year.uses(1, settled="2027-02-20 12:00")
    year.uses(2, settled="2027-03-01 00:10")
    year.cancels("2027-03-01 00:30", when="now")
    year.says(
        """
        invoice 1, start, 01 Feb 2027 to 28 Feb 2027
          Small, base fee 01 Feb 2027 to 28 Feb 2027                 744.00
          total                                                      744.00
          due                                                        744.00
        invoice 2, cycle, 01 Feb 2027 to 28 Feb 2027
          Small, base fee 01 Mar 2027 to 01 Mar 2027                   0.50
          1 simple conversation: 1 included = 0.00 USD                 0.00
          total                                                        0.50
          due                                                          0.50

        # Included: 10 x 0.5 / 744 is not nothing -> 1.
        invoice 3, cycle, 01 Mar 2027 to 01 Mar 2027
          2 simple conversations: 1 included, 1 x 1.00 = 1.00 USD      1.00
          total                                                        1.00
          due                                                          1.00
        """,
        at="2027-03-01 01:00",
    )
    year.ends("2027-03-01 01:30", total="745.50")


def test_a_customer_who_comes_back() -> None:
    """From 1 to 11 January are 10 of 31 days. What happens without a subscription is not billed."""
    year = Year(acme())
    year.begins(a_plan("small", **simple_at("30.00", 10, "1.00")), "2027-01-01 00:00")
    year.uses(5, settled="2027-01-08 12:00")
    year.cancels("2027-01-11 00:00", when="now")
    year.uses(1, settled="2027-01-15 12:00")
    year.begins(a_plan("large", **simple_at("90.00", 40, "0.50")), "2027-01-20 00:00")
    year.comes_to("2027-01-20 00:00")
    year.hears_late(2, settled="2027-01-05 12:00", heard="2027-01-25 12:00")
    year.says(
        """
        # 30.00 x 10 / 31 = 9.68; 20.32 are left. Included: 10 x 10 / 31 = 3.23 -> 4.
        invoice 1, start, 01 Jan 2027 to 31 Jan 2027
          Small, base fee 01 Jan 2027 to 31 Jan 2027                  30.00
          total                                                       30.00
          due                                                         30.00
        invoice 2, cycle, 01 Jan 2027 to 10 Jan 2027
          Small, base fee 11 Jan 2027 to 31 Jan 2027, not used       -20.32
          5 simple conversations: 4 included, 1 x 1.00 = 1.00 USD      1.00
          total                                                      -19.32
          due                                                          0.00
        invoice 3, start, 20 Jan 2027 to 19 Feb 2027
          Large, base fee 20 Jan 2027 to 19 Feb 2027                  90.00
          total                                                       90.00
          from credit                                                 19.32
          due                                                         70.68

        # 7 conversations instead of 5: what came late for the first subscription is on an invoice of the second.
        invoice 4, cycle, 20 Jan 2027 to 19 Feb 2027
          Large, base fee 20 Feb 2027 to 19 Mar 2027                  90.00
          Usage of 01 Jan 2027 to 10 Jan 2027 that changed after invoice INV-000002: 3.00 instead of 1.00 USD   2.00
          total                                                       92.00
          due                                                         92.00
        """,
        at="2027-02-20 01:00",
    )
    # 9.68 + 3.00 + 90.00 + 90.00
    year.ends("2027-02-20 01:30", total="192.68")
