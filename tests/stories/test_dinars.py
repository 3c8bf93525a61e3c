"""Cleo in Kuwait pays in dinars, of which the hundredth, 10 fils, can be paid, and is committed to a volume.

The plan costs 15.000 a month; 20 simple conversations at 0.050 are due whether used or not, a further one costs 0.075,
a standard one 2.000. VAT is added: 5 %, from July on 7.5 %; from September on Cleo accounts for it itself.
"""

from decimal import Decimal

import pytest
from pytest_django import Settings

from billing.taxes import add_tax_rate
from plans.customers import change_customer
from tests.billing.discounts import a_coupon, redeemed
from tests.cast import NOON, a_plan, cleo
from tests.stories.ledger_of_a_year import Year

pytestmark = pytest.mark.django_db

RATES = {
    "simple": {"committed": {"quantity": 20, "unit": "0.050"}, "price": {"model": "flat", "unit": "0.075"}},
    "standard": "2.000",
    "complex": "3.000",
    "enterprise": "4.000",
}


def test_a_year_in_dinars(settings: Settings) -> None:
    settings.TAX = "fixed"
    year = Year(cleo(currency="KWD", country="KW", timezone="Asia/Kuwait"))
    vat = {"country": "KW", "name": "VAT", "inclusive": False, "now": NOON}
    add_tax_rate(percent=Decimal("5"), starts_at=NOON, **vat)
    add_tax_rate(percent=Decimal("7.5"), starts_at=year.instant("2027-07-01 00:00"), **vat)
    subscription = year.begins(a_plan("gulf", currency="KWD", base_fee="15.000", rates=RATES), "2027-01-01 00:00")
    year.uses(12, settled="2027-01-15 12:00")
    year.uses(25, settled="2027-02-15 12:00")
    year.says(
        """
        invoice 1, start, 01 Jan 2027 to 31 Jan 2027
          Gulf, base fee 01 Jan 2027 to 31 Jan 2027                                                      15.000
          subtotal                                                                                       15.000
          VAT 5 %                                                                                         0.750
          total                                                                                          15.750
          due                                                                                            15.750
        invoice 2, cycle, 01 Jan 2027 to 31 Jan 2027
          Gulf, base fee 01 Feb 2027 to 28 Feb 2027                                                      15.000
          12 simple conversations: 12 committed x 0.050 = 0.600 KWD                                       0.600
          committed to 20 simple conversations, 12 used: 8 x 0.050 = 0.400 KWD                            0.400
          subtotal                                                                                       16.000
          VAT 5 %                                                                                         0.800
          total                                                                                          16.800
          due                                                                                            16.800

        # VAT: 16.380 x 0.05 = 0.819 -> 0.820
        invoice 3, cycle, 01 Feb 2027 to 28 Feb 2027
          Gulf, base fee 01 Mar 2027 to 31 Mar 2027                                                      15.000
          25 simple conversations: 20 committed x 0.050 + 5 x 0.075 = 1.375, rounded to 1.380 KWD         1.380
          subtotal                                                                                       16.380
          VAT 5 %                                                                                         0.820
          total                                                                                          17.200
          due                                                                                            17.200
        """,
        at="2027-03-01 01:00",
    )

    year.uses(8, settled="2027-03-10 12:00")
    year.pauses("2027-03-16 12:00:00")
    year.uses(6, settled="2027-03-20 12:00")
    year.resumes("2027-04-01 00:00:00")
    year.says(
        """
        # 16 March, 12:00, is the middle of 31 days. VAT: -7.500 x 0.05 = -0.375 -> -0.380
        invoice 4, change, 01 Mar 2027 to 31 Mar 2027
          Gulf, base fee 16 Mar 2027 to 31 Mar 2027, not used                                            -7.500
          subtotal                                                                                       -7.500
          VAT 5 %                                                                                        -0.380
          total                                                                                          -7.880
          due                                                                                             0.000

        # Half a month is a commitment to 10. The pause ends with the month: April is billed in advance as ever.
        invoice 5, cycle, 01 Mar 2027 to 31 Mar 2027
          Gulf, base fee 01 Apr 2027 to 30 Apr 2027                                                      15.000
          8 simple conversations: 8 committed x 0.050 = 0.400 KWD                                         0.400
          6 simple conversations: 2 committed x 0.050 + 4 x 0.075 = 0.400 KWD                             0.400
          subtotal                                                                                       15.800
          VAT 5 %                                                                                         0.790
          total                                                                                          16.590
          from credit                                                                                     7.880
          due                                                                                             8.710
        """,
        at="2027-04-01 01:00",
    )

    year.uses(20, settled="2027-04-15 12:00")
    year.uses(20, settled="2027-06-15 12:00")
    year.uses(1, "standard", settled="2027-06-16 12:00")
    year.uses(21, settled="2027-07-15 12:00")
    year.comes_to("2027-05-01 01:00")
    year.comes_to("2027-06-01 01:00")
    year.comes_to("2027-07-01 01:00")
    year.says(
        """
        invoice 6, cycle, 01 Apr 2027 to 30 Apr 2027
          Gulf, base fee 01 May 2027 to 31 May 2027                                                      15.000
          20 simple conversations: 20 committed x 0.050 = 1.000 KWD                                       1.000
          subtotal                                                                                       16.000
          VAT 5 %                                                                                         0.800
          total                                                                                          16.800
          due                                                                                            16.800
        invoice 7, cycle, 01 May 2027 to 31 May 2027
          Gulf, base fee 01 Jun 2027 to 30 Jun 2027                                                      15.000
          committed to 20 simple conversations, 0 used: 20 x 0.050 = 1.000 KWD                            1.000
          subtotal                                                                                       16.000
          VAT 5 %                                                                                         0.800
          total                                                                                          16.800
          due                                                                                            16.800

        # The rate is that of the day of the invoice: 1 July.
        invoice 8, cycle, 01 Jun 2027 to 30 Jun 2027
          Gulf, base fee 01 Jul 2027 to 31 Jul 2027                                                      15.000
          20 simple conversations: 20 committed x 0.050 = 1.000 KWD                                       1.000
          1 standard conversation: 1 x 2.000 = 2.000 KWD                                                  2.000
          subtotal                                                                                       18.000
          VAT 7.5 %                                                                                       1.350
          total                                                                                          19.350
          due                                                                                            19.350

        # VAT: 16.080 x 0.075 = 1.206 -> 1.210
        invoice 9, cycle, 01 Jul 2027 to 31 Jul 2027
          Gulf, base fee 01 Aug 2027 to 31 Aug 2027                                                      15.000
          21 simple conversations: 20 committed x 0.050 + 1 x 0.075 = 1.075, rounded to 1.080 KWD         1.080
          subtotal                                                                                       16.080
          VAT 7.5 %                                                                                       1.210
          total                                                                                          17.290
          due                                                                                            17.290
        """,
        at="2027-08-01 01:00",
    )

    summer = a_coupon("SUMMER", amount="5.000", currency="KWD")
    redeemed(summer, subscription, now=year.instant("2027-08-10 12:00"))
    year.uses(20, settled="2027-08-15 12:00")
    year.says(
        """
        # The discount is for August, whose base fee is on invoice 9 already. VAT: 11.000 x 0.075 = 0.825 -> 0.830
        invoice 10, cycle, 01 Aug 2027 to 31 Aug 2027
          Gulf, base fee 01 Sep 2027 to 30 Sep 2027                                                      15.000
          20 simple conversations: 20 committed x 0.050 = 1.000 KWD                                       1.000
          Summer: 5.000 off 16.000 = -5.000 KWD                                                          -5.000
          subtotal                                                                                       11.000
          VAT 7.5 %                                                                                       0.830
          total                                                                                          11.830
          due                                                                                            11.830
        """,
        at="2027-09-01 01:00",
    )

    change_customer(year.customer, tax_exempt="reverse")
    year.uses(22, settled="2027-09-15 12:00")
    year.uses(20, settled="2027-10-15 12:00")
    year.uses(20, settled="2027-11-15 12:00")
    year.uses(20, settled="2027-12-15 12:00")
    year.says(
        """
        invoice 11, cycle, 01 Sep 2027 to 30 Sep 2027
          Gulf, base fee 01 Oct 2027 to 31 Oct 2027                                                      15.000
          22 simple conversations: 20 committed x 0.050 + 2 x 0.075 = 1.150 KWD                           1.150
          subtotal                                                                                       16.150
          Reverse charge 0 %                                                                              0.000
          total                                                                                          16.150
          due                                                                                            16.150
        """
        + "".join(
            f"""
        invoice {number}, cycle, {ended}
          Gulf, base fee {begins}                                                                        15.000
          20 simple conversations: 20 committed x 0.050 = 1.000 KWD                                       1.000
          subtotal                                                                                       16.000
          Reverse charge 0 %                                                                              0.000
          total                                                                                          16.000
          due                                                                                            16.000
        """
            for number, ended, begins in (
                (12, "01 Oct 2027 to 31 Oct 2027", "01 Nov 2027 to 30 Nov 2027"),
                (13, "01 Nov 2027 to 30 Nov 2027", "01 Dec 2027 to 31 Dec 2027"),
                (14, "01 Dec 2027 to 31 Dec 2027", "01 Jan 2028 to 31 Jan 2028"),
            )
        ),
        at="2028-01-01 01:00",
    )

    # Base fees  12 x 15.000 + 7.500 = 187.500
    # Usage      1.000 + 1.380 + 0.800 + 1.000 + 1.000 + 3.000 + 1.080 + 1.000 + 1.150 + 3 x 1.000 = 14.410
    # Discount  -5.000
    # VAT        0.750 + 0.800 + 0.820 - 0.380 + 0.790 + 0.800 + 0.800 + 1.350 + 1.210 + 0.830 = 7.770
    year.ends("2028-01-01 01:30", total="204.680")
