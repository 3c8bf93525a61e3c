"""Acme has everything at once: a coupon, limits, a move within a month, both kinds of credit, VAT, and an end.

It is in Berlin. Growth costs 49.00 a month, includes 10 simple conversations, and comes to 60.00 at least; a further
one costs 1.00. Scale costs 199.00, includes 40, and comes to 250.00 at least and 260.00 at most; a further one costs
0.50. The coupon takes a quarter off usage, for ever. VAT of 19 % is added. Acme has a present of 30.00 and 100.00
prepaid.
"""

from decimal import Decimal

import pytest
from pytest_django import Settings

from billing.taxes import add_tax_rate
from tests.billing.discounts import a_coupon, redeemed
from tests.billing.purse import prepaid, present
from tests.cast import NOON, a_plan, acme
from tests.stories.ledger_of_a_year import Year, simple_at

pytestmark = pytest.mark.django_db


def test_a_summer_with_everything(settings: Settings) -> None:
    settings.TAX = "fixed"
    add_tax_rate(country="DE", name="VAT", percent=Decimal(19), inclusive=False, starts_at=NOON, now=NOON)
    year = Year(acme(country="DE", timezone="Europe/Berlin"))
    june = year.instant("2027-06-01 00:00")
    present(3_000, year.customer, now=june, expires_at=year.instant("2027-07-01 00:00"))
    prepaid(10_000, year.customer, now=june)
    growth = a_plan("growth", **simple_at("49.00", 10, "1.00", minimum="60.00"))
    scale = a_plan("scale", **simple_at("199.00", 40, "0.50", minimum="250.00", maximum="260.00"))
    subscription = year.begins(growth, "2027-06-01 00:00")
    redeemed(a_coupon("LOYAL", percent="25", applies_to="usage", duration="forever"), subscription)
    year.uses(20, settled="2027-06-15 23:59:59")
    year.moves(scale, "2027-06-16 00:00:00")
    year.uses(30, settled="2027-06-16 00:00:00")
    year.says(
        """
        # The present lowers what is taxed, prepaid credit pays what is to be paid: 19.00 x 0.19 = 3.61.
        invoice 1, start, 01 Jun 2027 to 30 Jun 2027
          Growth, base fee 01 Jun 2027 to 30 Jun 2027                    49.00
          Promotional credit                                            -30.00
          subtotal                                                       19.00
          VAT 19 %                                                        3.61
          total                                                          22.61
          from prepaid credit                                            22.61
          due                                                             0.00

        # 16 June is the middle of June. VAT: 75.00 x 0.19 = 14.25. Prepaid: 100.00 - 22.61 = 77.39.
        invoice 2, change, 01 Jun 2027 to 30 Jun 2027
          Growth, base fee 16 Jun 2027 to 30 Jun 2027, not used         -24.50
          Scale, base fee 16 Jun 2027 to 30 Jun 2027                     99.50
          subtotal                                                       75.00
          VAT 19 %                                                       14.25
          total                                                          89.25
          from prepaid credit                                            77.39
          due                                                            11.86

        # Included: 10 / 2 + 40 / 2 = 25. A quarter of 12.50 is 3.125 -> 3.13.
        # June: 24.50 + 99.50 + 12.50 - 3.13 = 133.37; at least 60.00 / 2 + 250.00 / 2 = 155.00.
        invoice 3, cycle, 01 Jun 2027 to 30 Jun 2027
          Scale, base fee 01 Jul 2027 to 31 Jul 2027                    199.00
          20 simple conversations: 20 included = 0.00 USD                 0.00
          30 simple conversations: 5 included, 25 x 0.50 = 12.50 USD     12.50
          Loyal: 25% off 12.50 = -3.13 USD                               -3.13
          minimum 155.00 - 133.37 = 21.63 USD                            21.63
          subtotal                                                      230.00
          VAT 19 %                                                       43.70
          total                                                         273.70
          due                                                           273.70
        """,
        at="2027-07-01 01:00",
    )

    year.uses(200, settled="2027-07-20 12:00")
    year.uses(300, settled="2027-08-20 12:00")
    year.uses(22, settled="2027-09-10 12:00")
    year.cancels("2027-09-16 00:00:00", when="now")
    year.says(
        """
        # July: 199.00 + 80.00 - 20.00 = 259.00, within the limits. VAT: 259.00 x 0.19 = 49.21.
        invoice 4, cycle, 01 Jul 2027 to 31 Jul 2027
          Scale, base fee 01 Aug 2027 to 31 Aug 2027                    199.00
          200 simple conversations: 40 included, 160 x 0.50 = 80.00 USD  80.00
          Loyal: 25% off 80.00 = -20.00 USD                             -20.00
          subtotal                                                      259.00
          VAT 19 %                                                       49.21
          total                                                         308.21
          due                                                           308.21

        # August: 199.00 + 130.00 - 32.50 = 296.50, more than 260.00. VAT: 260.00 x 0.19 = 49.40.
        invoice 5, cycle, 01 Aug 2027 to 31 Aug 2027
          Scale, base fee 01 Sep 2027 to 30 Sep 2027                    199.00
          300 simple conversations: 40 included, 260 x 0.50 = 130.00 USD  130.00
          Loyal: 25% off 130.00 = -32.50 USD                            -32.50
          maximum 260.00 - 296.50 = -36.50 USD                          -36.50
          subtotal                                                      260.00
          VAT 19 %                                                       49.40
          total                                                         309.40
          due                                                           309.40

        # Half of September: 99.50 of 199.00 are given back, 20 are included, and 250.00 / 2 = 125.00 are due at least.
        # 99.50 + 1.00 - 0.25 = 100.25. VAT goes back too: -74.00 x 0.19 = -14.06.
        invoice 6, cycle, 01 Sep 2027 to 15 Sep 2027
          Scale, base fee 16 Sep 2027 to 30 Sep 2027, not used          -99.50
          22 simple conversations: 20 included, 2 x 0.50 = 1.00 USD       1.00
          Loyal: 25% off 1.00 = -0.25 USD                                -0.25
          minimum 125.00 - 100.25 = 24.75 USD                            24.75
          subtotal                                                      -74.00
          VAT 19 %                                                      -14.06
          total                                                         -88.06
          due                                                             0.00
        """
    )

    # (19.00 + 75.00 + 230.00 + 259.00 + 260.00 - 74.00) x 1.19 = 769.00 x 1.19
    year.ends("2027-09-16 01:00", total="915.11", credit="88.06")
