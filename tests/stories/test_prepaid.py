"""Bolt prepays: presents that burn by priority and expire, credit that was bought, more of it by itself, and a void.

The plan costs 10.00 a month, and 1.00 a simple conversation. Bolt has paid 100.00 by bank transfer, and got two
presents: 30.00 until 1 March, and 50.00 from 1 February until 15 April, which goes first.
"""

import datetime as dt

import pytest

from billing.models import Invoice
from billing.topping_up import remove_rule, set_rule
from tests.billing.purse import left, prepaid, present, voided
from tests.cast import a_plan, bolt
from tests.stories.ledger_of_a_year import Year, simple_at

pytestmark = pytest.mark.django_db


def test_a_year_of_prepaid_credit() -> None:
    year = Year(bolt())
    new_year = year.instant("2027-01-01 00:00")
    paid = prepaid(10_000, year.customer, name="Transfer", now=new_year)
    welcome = present(3_000, year.customer, now=new_year, expires_at=year.instant("2027-03-01 00:00"))
    spring = present(
        5_000,
        year.customer,
        name="Spring",
        priority=10,
        now=new_year,
        effective_at=year.instant("2027-02-01 00:00"),
        expires_at=year.instant("2027-04-15 00:00"),
    )
    year.begins(a_plan("metered", **simple_at("10.00", 0, "1.00")), "2027-01-01 00:00")
    year.uses(4, settled="2027-01-15 12:00")
    year.says(
        """
        # Welcome expires first, 20.00 are left.
        invoice 1, start, 01 Jan 2027 to 31 Jan 2027
          Metered, base fee 01 Jan 2027 to 31 Jan 2027                10.00
          Promotional credit                                         -10.00
          total                                                        0.00
          due                                                          0.00
        """,
        at="2027-01-01 00:00",
    )
    year.says(
        """
        # Spring begins when January ends: too late for it. Of Welcome 6.00 are left.
        invoice 2, cycle, 01 Jan 2027 to 31 Jan 2027
          Metered, base fee 01 Feb 2027 to 28 Feb 2027                10.00
          4 simple conversations: 4 x 1.00 = 4.00 USD                  4.00
          Promotional credit                                         -14.00
          total                                                        0.00
          due                                                          0.00
        """,
        at="2027-02-01 01:00",
    )
    year.uses(6, settled="2027-02-15 12:00")
    assert left(welcome) == 6_00
    year.says(
        """
        # Both may pay for February. Spring has the priority, 34.00 are left of it; the 6.00 of Welcome are lost.
        invoice 3, cycle, 01 Feb 2027 to 28 Feb 2027
          Metered, base fee 01 Mar 2027 to 31 Mar 2027                10.00
          6 simple conversations: 6 x 1.00 = 6.00 USD                  6.00
          Promotional credit                                         -16.00
          total                                                        0.00
          due                                                          0.00
        """,
        at="2027-03-01 01:00",
    )
    assert (left(welcome), left(spring), left(paid)) == (0, 34_00, 100_00)

    year.uses(3, settled="2027-03-15 12:00")
    year.uses(17, settled="2027-04-20 12:00")
    year.uses(5, settled="2027-05-15 12:00")
    year.uses(30, settled="2027-06-15 12:00")
    year.comes_to("2027-04-20 13:00")
    year.says(
        """
        # Spring: 34.00 - 13.00 = 21.00. They expire on 15 April, and still pay for the April that began before.
        invoice 4, cycle, 01 Mar 2027 to 31 Mar 2027
          Metered, base fee 01 Apr 2027 to 30 Apr 2027                10.00
          3 simple conversations: 3 x 1.00 = 3.00 USD                  3.00
          Promotional credit                                         -13.00
          total                                                        0.00
          due                                                          0.00
        invoice 5, cycle, 01 Apr 2027 to 30 Apr 2027
          Metered, base fee 01 May 2027 to 31 May 2027                10.00
          17 simple conversations: 17 x 1.00 = 17.00 USD              17.00
          Promotional credit                                         -21.00
          total                                                        6.00
          from prepaid credit                                          6.00
          due                                                          0.00

        # Prepaid: 100.00 - 6.00 - 15.00 - 40.00 = 39.00.
        invoice 6, cycle, 01 May 2027 to 31 May 2027
          Metered, base fee 01 Jun 2027 to 30 Jun 2027                10.00
          5 simple conversations: 5 x 1.00 = 5.00 USD                  5.00
          total                                                       15.00
          from prepaid credit                                         15.00
          due                                                          0.00
        invoice 7, cycle, 01 Jun 2027 to 30 Jun 2027
          Metered, base fee 01 Jul 2027 to 31 Jul 2027                10.00
          30 simple conversations: 30 x 1.00 = 30.00 USD              30.00
          total                                                       40.00
          from prepaid credit                                         40.00
          due                                                          0.00
        """,
        at="2027-07-01 01:00",
    )
    year.holds("39.00", at="2027-07-01 01:00")

    a_day, rule_from = dt.timedelta(days=1), year.instant("2027-07-01 02:00")
    set_rule(year.customer, below=50_00, up_to=100_00, cool_off=a_day, now=rule_from)
    year.says(
        """
        # Below 50.00 it is filled up to 100.00: 100.00 - 39.00.
        invoice 8, top_up, 01 Jul 2027
          Prepaid credit: Automatic top-up                            61.00
          total                                                       61.00
          due                                                         61.00
        """,
        at="2027-07-01 02:00",
    )
    year.pays("INV-000008", "2027-07-02 12:00")
    year.holds("100.00", at="2027-07-02 12:00")
    year.uses(20, settled="2027-07-10 12:00")
    year.says("", at="2027-07-11 12:00")
    year.uses(35, settled="2027-07-20 12:00")
    year.says(
        """
        # 55 conversations are not invoiced yet: 100.00 - 55.00 = 45.00 are available, 55.00 are missing to 100.00.
        invoice 9, top_up, 21 Jul 2027
          Prepaid credit: Automatic top-up                            55.00
          total                                                       55.00
          due                                                         55.00
        """,
        at="2027-07-21 12:00",
    )
    year.pays("INV-000009", "2027-07-22 12:00")
    year.holds("155.00", at="2027-07-22 12:00")
    year.says(
        """
        invoice 10, cycle, 01 Jul 2027 to 31 Jul 2027
          Metered, base fee 01 Aug 2027 to 31 Aug 2027                10.00
          55 simple conversations: 55 x 1.00 = 55.00 USD              55.00
          total                                                       65.00
          from prepaid credit                                         65.00
          due                                                          0.00
        """,
        at="2027-08-01 01:00",
    )

    remove_rule(year.customer)
    year.uses(90, settled="2027-08-15 12:00")
    year.says(
        """
        # 155.00 - 65.00 = 90.00 are there.
        invoice 11, cycle, 01 Aug 2027 to 31 Aug 2027
          Metered, base fee 01 Sep 2027 to 30 Sep 2027                10.00
          90 simple conversations: 90 x 1.00 = 90.00 USD              90.00
          total                                                      100.00
          from prepaid credit                                         90.00
          due                                                         10.00
        """,
        at="2027-09-01 01:00",
    )
    year.holds("0.00", at="2027-09-01 01:00")
    # The 90 were a test of ours: the invoice is taken back, and the credit it took. What was on it is not billed again.
    voided(Invoice.objects.get(number="INV-000011"), now=year.instant("2027-09-02 12:00"))
    year.voided("100.00")
    year.holds("90.00", at="2027-09-02 12:00")

    year.uses(5, settled="2027-09-15 12:00")
    year.uses(8, settled="2027-10-15 12:00")
    year.uses(2, settled="2027-11-15 12:00")
    year.uses(5, settled="2027-12-15 12:00")
    year.says(
        "".join(
            f"""
        invoice {number}, cycle, {ended}
          Metered, base fee {begins}                                  10.00
          {used} simple conversations: {used} x 1.00 = {used}.00 USD   {used}.00
          total                                                       {total}
          from prepaid credit                                         {total}
          due                                                          0.00
        """
            for number, ended, begins, used, total in (
                (12, "01 Sep 2027 to 30 Sep 2027", "01 Oct 2027 to 31 Oct 2027", 5, "15.00"),
                (13, "01 Oct 2027 to 31 Oct 2027", "01 Nov 2027 to 30 Nov 2027", 8, "18.00"),
                (14, "01 Nov 2027 to 30 Nov 2027", "01 Dec 2027 to 31 Dec 2027", 2, "12.00"),
                (15, "01 Dec 2027 to 31 Dec 2027", "01 Jan 2028 to 31 Jan 2028", 5, "15.00"),
            )
        ),
        at="2028-01-01 01:00",
    )

    # Paid in: 100.00 + 61.00 + 55.00 = 216.00
    # Used: 6.00 + 15.00 + 40.00 + 65.00 + 15.00 + 18.00 + 12.00 + 15.00 = 186.00
    year.holds("30.00", at="2028-01-01 01:00")
    # Invoiced: what was used, and 61.00 + 55.00 that were sold.
    year.ends("2028-01-01 01:30", total="302.00")
