"""Cleo in Tokyo pays in yen, which have no decimals: a discount, a minimum, a cap, and tax in the price.

The plan costs 4900 a month and includes 5 simple conversations; a further one costs 33.3, a standard one 70.5. A month
comes to 5000 at least and 6000 at most. A coupon takes off a
tenth for three months. All prices contain 10 % consumption tax: an eleventh of what is paid.
"""

from decimal import Decimal

import pytest
from pytest_django import Settings

from billing.taxes import add_tax_rate
from tests.billing.discounts import a_coupon, redeemed
from tests.cast import NOON, a_plan, cleo
from tests.stories.ledger_of_a_year import Year

pytestmark = pytest.mark.django_db

RATES = {
    "simple": {"included": 5, "price": {"model": "flat", "unit": "33.3"}},
    "standard": "70.5",
    "complex": "100",
    "enterprise": "200",
}


def test_a_year_in_yen(settings: Settings) -> None:
    settings.TAX = "fixed"
    add_tax_rate(country="JP", name="Consumption tax", percent=Decimal(10), inclusive=True, starts_at=NOON, now=NOON)
    year = Year(cleo(currency="JPY", country="JP", timezone="Asia/Tokyo"))
    plan = a_plan("kyoto", currency="JPY", base_fee="4900", rates=RATES, minimum="5000", maximum="6000")
    redeemed(a_coupon(duration="repeating", periods=3), year.begins(plan, "2027-01-01 00:00"))
    year.uses(8, settled="2027-01-15 12:00")
    year.uses(30, settled="2027-02-15 12:00")
    year.uses(4, "standard", settled="2027-02-16 12:00")
    year.uses(60, settled="2027-03-15 12:00")
    year.says(
        """
        # 4410 / 11 = 400.9
        invoice 1, start, 01 Jan 2027 to 31 Jan 2027
          Kyoto, base fee 01 Jan 2027 to 31 Jan 2027                                            4900
          Spring: 10% off 4900 = -490 JPY                                                       -490
          subtotal                                                                              4410
          contained Consumption tax 10 %                                                         401
          total                                                                                 4410
          due                                                                                   4410

        # January: 4900 + 100 = 5000, a tenth of which is 500; 490 of it were taken off on invoice 1.
        # 4500 remain, less than the minimum. Tax 5000 / 11 = 454.5
        invoice 2, cycle, 01 Jan 2027 to 31 Jan 2027
          Kyoto, base fee 01 Feb 2027 to 28 Feb 2027                                            4900
          8 simple conversations: 5 included, 3 x 33.3 = 99.9, rounded to 100 JPY                100
          Spring: 10% off 4900 = -490 JPY                                                       -490
          Spring: 10% off 5000 = -500 JPY, -490 JPY of it taken before                           -10
          minimum 5000 - 4500 = 500 JPY                                                          500
          subtotal                                                                              5000
          contained Consumption tax 10 %                                                         455
          total                                                                                 5000
          due                                                                                   5000

        # February: 4900 + 833 + 282 = 6015, a tenth is 601.5; 602 - 490 = 112. 5413 are within the limits.
        # Tax 5413 / 11 = 492.1
        invoice 3, cycle, 01 Feb 2027 to 28 Feb 2027
          Kyoto, base fee 01 Mar 2027 to 31 Mar 2027                                            4900
          30 simple conversations: 5 included, 25 x 33.3 = 832.5, rounded to 833 JPY             833
          4 standard conversations: 4 x 70.5 = 282 JPY                                           282
          Spring: 10% off 4900 = -490 JPY                                                       -490
          Spring: 10% off 6015 = -602 JPY, -490 JPY of it taken before                          -112
          subtotal                                                                              5413
          contained Consumption tax 10 %                                                         492
          total                                                                                 5413
          due                                                                                   5413

        # March: 4900 + 1832 = 6732, a tenth is 673.2; 673 - 490 = 183. 6059 are 59 too many. April has no discount.
        # Tax 6490 / 11 = 590
        invoice 4, cycle, 01 Mar 2027 to 31 Mar 2027
          Kyoto, base fee 01 Apr 2027 to 30 Apr 2027                                            4900
          60 simple conversations: 5 included, 55 x 33.3 = 1831.5, rounded to 1832 JPY          1832
          Spring: 10% off 6732 = -673 JPY, -490 JPY of it taken before                          -183
          maximum 6000 - 6059 = -59 JPY                                                          -59
          subtotal                                                                              6490
          contained Consumption tax 10 %                                                         590
          total                                                                                 6490
          due                                                                                   6490
        """,
        at="2027-04-01 01:00",
    )

    year.uses(40, settled="2027-05-15 12:00")
    year.uses(10, settled="2027-06-15 12:00")
    year.uses(8, settled="2027-07-15 12:00")
    year.uses(2, "standard", settled="2027-08-15 12:00")
    year.says(
        """
        invoice 5, cycle, 01 Apr 2027 to 30 Apr 2027
          Kyoto, base fee 01 May 2027 to 31 May 2027                                            4900
          minimum 5000 - 4900 = 100 JPY                                                          100
          subtotal                                                                              5000
          contained Consumption tax 10 %                                                         455
          total                                                                                 5000
          due                                                                                   5000

        # May: 4900 + 1166 = 6066. Tax 6000 / 11 = 545.45
        invoice 6, cycle, 01 May 2027 to 31 May 2027
          Kyoto, base fee 01 Jun 2027 to 30 Jun 2027                                            4900
          40 simple conversations: 5 included, 35 x 33.3 = 1165.5, rounded to 1166 JPY          1166
          maximum 6000 - 6066 = -66 JPY                                                          -66
          subtotal                                                                              6000
          contained Consumption tax 10 %                                                         545
          total                                                                                 6000
          due                                                                                   6000

        # Tax 5067 / 11 = 460.6
        invoice 7, cycle, 01 Jun 2027 to 30 Jun 2027
          Kyoto, base fee 01 Jul 2027 to 31 Jul 2027                                            4900
          10 simple conversations: 5 included, 5 x 33.3 = 166.5, rounded to 167 JPY              167
          subtotal                                                                              5067
          contained Consumption tax 10 %                                                         461
          total                                                                                 5067
          due                                                                                   5067

        # July comes to the minimum by itself: 4900 + 100.
        invoice 8, cycle, 01 Jul 2027 to 31 Jul 2027
          Kyoto, base fee 01 Aug 2027 to 31 Aug 2027                                            4900
          8 simple conversations: 5 included, 3 x 33.3 = 99.9, rounded to 100 JPY                100
          subtotal                                                                              5000
          contained Consumption tax 10 %                                                         455
          total                                                                                 5000
          due                                                                                   5000

        # Tax 5041 / 11 = 458.3
        invoice 9, cycle, 01 Aug 2027 to 31 Aug 2027
          Kyoto, base fee 01 Sep 2027 to 30 Sep 2027                                            4900
          2 standard conversations: 2 x 70.5 = 141 JPY                                           141
          subtotal                                                                              5041
          contained Consumption tax 10 %                                                         458
          total                                                                                 5041
          due                                                                                   5041
        """,
        at="2027-09-01 01:00",
    )

    year.uses(5, settled="2027-10-15 12:00")
    year.uses(20, settled="2027-11-15 12:00")
    year.uses(100, settled="2027-12-15 12:00")
    year.says(
        """
        invoice 10, cycle, 01 Sep 2027 to 30 Sep 2027
          Kyoto, base fee 01 Oct 2027 to 31 Oct 2027                                            4900
          minimum 5000 - 4900 = 100 JPY                                                          100
          subtotal                                                                              5000
          contained Consumption tax 10 %                                                         455
          total                                                                                 5000
          due                                                                                   5000
        invoice 11, cycle, 01 Oct 2027 to 31 Oct 2027
          Kyoto, base fee 01 Nov 2027 to 30 Nov 2027                                            4900
          5 simple conversations: 5 included = 0 JPY                                               0
          minimum 5000 - 4900 = 100 JPY                                                          100
          subtotal                                                                              5000
          contained Consumption tax 10 %                                                         455
          total                                                                                 5000
          due                                                                                   5000

        # Tax 5400 / 11 = 490.9
        invoice 12, cycle, 01 Nov 2027 to 30 Nov 2027
          Kyoto, base fee 01 Dec 2027 to 31 Dec 2027                                            4900
          20 simple conversations: 5 included, 15 x 33.3 = 499.5, rounded to 500 JPY             500
          subtotal                                                                              5400
          contained Consumption tax 10 %                                                         491
          total                                                                                 5400
          due                                                                                   5400

        # December: 4900 + 3164 = 8064.
        invoice 13, cycle, 01 Dec 2027 to 31 Dec 2027
          Kyoto, base fee 01 Jan 2028 to 31 Jan 2028                                            4900
          100 simple conversations: 5 included, 95 x 33.3 = 3163.5, rounded to 3164 JPY         3164
          maximum 6000 - 8064 = -2064 JPY                                                      -2064
          subtotal                                                                              6000
          contained Consumption tax 10 %                                                         545
          total                                                                                 6000
          due                                                                                   6000
        """,
        at="2028-01-01 01:00",
    )

    # 5000 + 5413 + 6000 + 5000 + 6000 + 5067 + 5000 + 5041 + 5000 + 5000 + 5400 + 6000 = 63921, and 4900 for January
    year.ends("2028-01-01 01:30", total="68821")
