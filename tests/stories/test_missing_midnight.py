"""Who begins a month at midnight, where one day of the year has none?

Egypt's clocks go from 23:59:59 to 1:00:00 before 30 April 2027, and back from 23:59:59 to 23:00:00 on 28 October. Bolt
begins its months on the 30th, at midnight. Growth costs 71.90 a month and includes 5 simple conversations, scale costs
143.80 and includes 10; a further one costs 1.00. On Thursdays from 22:00 and Fridays until 2:00 each costs 3.00.
"""

from typing import Any

import pytest

from tests.cast import a_plan, bolt
from tests.stories.ledger_of_a_year import Year, simple_at

pytestmark = pytest.mark.django_db

NIGHT = [{"days": ["thu"], "from": "22:00", "to": "24:00"}, {"days": ["fri"], "from": "00:00", "to": "02:00"}]


def dear_at_night(base_fee: str, included: int) -> dict[str, Any]:
    terms = simple_at(base_fee, included, "1.00", peak_hours=NIGHT)
    terms["rates"]["simple"]["peak"] = {"included": 0, "price": {"model": "flat", "unit": "3.00"}}
    return terms


def test_a_year_in_cairo() -> None:
    growth, scale = a_plan("growth", **dear_at_night("71.90", 5)), a_plan("scale", **dear_at_night("143.80", 10))
    year = Year(bolt(timezone="Africa/Cairo"))
    year.begins(growth, "2027-01-30 00:00")
    year.uses(5, settled="2027-02-10 12:00")
    year.uses(6, settled="2027-04-20 12:00")
    year.uses(2, settled="2027-04-29 23:59:59")
    year.uses(1, settled="2027-04-30 01:00:00")
    year.uses(3, settled="2027-04-30 01:59:59")
    year.uses(4, settled="2027-04-30 02:00:00")
    year.says(
        """
        invoice 1, start, 30 Jan 2027 to 27 Feb 2027
          Growth, base fee 30 Jan 2027 to 27 Feb 2027                                  71.90
          total                                                                        71.90
          due                                                                          71.90
        invoice 2, cycle, 30 Jan 2027 to 27 Feb 2027
          Growth, base fee 28 Feb 2027 to 29 Mar 2027                                  71.90
          5 simple conversations: 5 included = 0.00 USD                                 0.00
          total                                                                        71.90
          due                                                                          71.90
        invoice 3, cycle, 28 Feb 2027 to 29 Mar 2027
          Growth, base fee 30 Mar 2027 to 29 Apr 2027                                  71.90
          total                                                                        71.90
          due                                                                          71.90

        # The second after Thursday, 23:59:59, is Friday, 1:00:00, and the first of the next month.
        invoice 4, cycle, 30 Mar 2027 to 29 Apr 2027
          Growth, base fee 30 Apr 2027 to 29 May 2027                                  71.90
          6 simple conversations: 5 included, 1 x 1.00 = 1.00 USD                       1.00
          2 simple conversations at peak hours: 2 x 3.00 = 6.00 USD                     6.00
          total                                                                        78.90
          due                                                                          78.90
        """,
        at="2027-04-30 02:00:00",
    )

    year.moves(scale, "2027-05-10 00:00:00")
    year.uses(6, settled="2027-05-20 12:00")
    year.says(
        """
        # From 30 April, 1:00, to 30 May, 0:00, are 719 hours: growth costs 0.10 an hour, scale 0.20.
        # 10 days less an hour are over, 480 hours are left.
        invoice 5, change, 30 Apr 2027 to 29 May 2027
          Growth, base fee 10 May 2027 to 29 May 2027, not used                       -48.00
          Scale, base fee 10 May 2027 to 29 May 2027                                   96.00
          total                                                                        48.00
          due                                                                          48.00

        # Included: (5 x 239 + 10 x 480) / 719 = 8.34 -> 9, of which 4 are used on growth.
        invoice 6, cycle, 30 Apr 2027 to 29 May 2027
          Scale, base fee 30 May 2027 to 29 Jun 2027                                  143.80
          4 simple conversations: 4 included = 0.00 USD                                 0.00
          4 simple conversations at peak hours: 4 x 3.00 = 12.00 USD                   12.00
          6 simple conversations: 5 included, 1 x 1.00 = 1.00 USD                       1.00
          total                                                                       156.80
          due                                                                         156.80
        """,
        at="2027-05-30 01:00",
    )

    year.says(
        "\n".join(
            f"""
            invoice {number}, cycle, {ended}
              Scale, base fee {begins}  143.80
              total                     143.80
              due                       143.80
            """
            for number, ended, begins in (
                (7, "30 May 2027 to 29 Jun 2027", "30 Jun 2027 to 29 Jul 2027"),
                (8, "30 Jun 2027 to 29 Jul 2027", "30 Jul 2027 to 29 Aug 2027"),
                (9, "30 Jul 2027 to 29 Aug 2027", "30 Aug 2027 to 29 Sep 2027"),
                (10, "30 Aug 2027 to 29 Sep 2027", "30 Sep 2027 to 29 Oct 2027"),
            )
        ),
        at="2027-09-30 01:00",
    )

    # That Thursday evening has three hours from 22:00 to 24:00.
    year.uses(1, settled="2027-10-28 22:30:00")
    year.uses(1, settled="2027-10-28 23:30:00+03:00")
    year.uses(1, settled="2027-10-28 23:30:00+02:00")
    year.moves(growth, "2027-10-29 00:00:00", when="now")
    year.uses(1, settled="2027-10-29 01:59:59")
    year.uses(1, settled="2027-10-29 02:00:00")
    year.says(
        """
        # From 30 September to 30 October are 30 days and an hour: 721 hours. 29 days and an hour, 697, are over.
        # Scale 143.80 x 697 / 721 = 139.0133 -> 139.01; 143.80 - 139.01 = 4.79
        # Growth 71.90 x 697 / 721 =  69.5067 ->  69.51;  71.90 -  69.51 = 2.39
        invoice 11, change, 30 Sep 2027 to 29 Oct 2027
          Scale, base fee 29 Oct 2027 to 29 Oct 2027, not used                         -4.79
          Growth, base fee 29 Oct 2027 to 29 Oct 2027                                   2.39
          total                                                                        -2.40
          due                                                                           0.00
        invoice 12, cycle, 30 Sep 2027 to 29 Oct 2027
          Growth, base fee 30 Oct 2027 to 29 Nov 2027                                  71.90
          3 simple conversations at peak hours: 3 x 3.00 = 9.00 USD                     9.00
          1 simple conversation: 1 included = 0.00 USD                                  0.00
          1 simple conversation at peak hours: after 3 earlier in the period, 1 x 3.00 = 3.00 USD   3.00
          total                                                                        83.90
          from credit                                                                   2.40
          due                                                                          81.50
        invoice 13, cycle, 30 Oct 2027 to 29 Nov 2027
          Growth, base fee 30 Nov 2027 to 29 Dec 2027                                  71.90
          total                                                                        71.90
          due                                                                          71.90
        invoice 14, cycle, 30 Nov 2027 to 29 Dec 2027
          Growth, base fee 30 Dec 2027 to 29 Jan 2028                                  71.90
          total                                                                        71.90
          due                                                                          71.90
        invoice 15, cycle, 30 Dec 2027 to 29 Jan 2028
          Growth, base fee 30 Jan 2028 to 28 Feb 2028                                  71.90
          total                                                                        71.90
          due                                                                          71.90
        """,
        at="2028-01-30 01:00",
    )

    # Base fees 3 x 71.90 + (23.90 + 96.00) + 4 x 143.80 + (139.01 + 2.39) + 4 x 71.90 = 1,339.80
    # Usage     1.00 + 6.00 + 12.00 + 1.00 + 9.00 + 3.00 = 32.00
    year.ends("2028-01-30 01:30", total="1371.80")


@pytest.mark.parametrize(
    ("zone", "begins", "midnight", "base_fee", "pauses", "first", "second", "rest", "given_back"),
    [
        pytest.param(
            # Sunday, 28 March, begins at 1:00; to 28 April are 31 days less an hour, 743 hours.
            *("Asia/Beirut", "2027-02-28 00:00", "2027-03-27T22:00:00Z", "74.30", "2027-04-01T02:00:00Z"),
            *("28 Feb 2027 to 27 Mar 2027", "28 Mar 2027 to 27 Apr 2027", "01 Apr 2027 to 27 Apr 2027", "-64.30"),
            id="Beirut",
        ),
        pytest.param(
            # Sunday, 1 October 2023, begins at 1:00; to 1 November are 743 hours.
            *("America/Asuncion", "2023-09-01 00:00", "2023-10-01T04:00:00Z", "74.30", "2023-10-05T08:00:00Z"),
            *("01 Sep 2023 to 30 Sep 2023", "01 Oct 2023 to 31 Oct 2023", "05 Oct 2023 to 31 Oct 2023", "-64.30"),
            id="Asuncion",
        ),
        pytest.param(
            # Sunday, 5 September, begins at 1:00; to 5 October are 30 days less an hour, 719 hours.
            *("America/Santiago", "2027-08-05 00:00", "2027-09-05T04:00:00Z", "71.90", "2027-09-09T08:00:00Z"),
            *("05 Aug 2027 to 04 Sep 2027", "05 Sep 2027 to 04 Oct 2027", "09 Sep 2027 to 04 Oct 2027", "-61.90"),
            id="Santiago",
        ),
    ],
)
def test_an_hour_less_of_the_day_is_an_hour_less_of_the_month(
    zone: str,
    begins: str,
    midnight: str,
    base_fee: str,
    pauses: str,
    first: str,
    second: str,
    rest: str,
    given_back: str,
) -> None:
    """At 0.10 an hour, 100 hours of the month that begins where a midnight is missing cost 10.00."""
    year = Year(bolt(timezone=zone))
    year.begins(a_plan(**simple_at(base_fee, 0, "1.00")), begins)
    year.uses(1, settled=midnight.replace("T", " "))
    year.pauses(pauses)
    year.says(
        f"""
        invoice 1, start, {first}
          Growth, base fee {first}            {base_fee}
          total                               {base_fee}
          due                                 {base_fee}
        # What settled at that instant belongs to the month that begins with it.
        invoice 2, cycle, {first}
          Growth, base fee {second}           {base_fee}
          total                               {base_fee}
          due                                 {base_fee}
        invoice 3, change, {second}
          Growth, base fee {rest}, not used   {given_back}
          total                               {given_back}
          due                                 0.00
        """
    )
