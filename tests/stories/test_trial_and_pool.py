"""Acme tries a plan for two weeks, then has a pool of credits, and keeps some of what is left of it.

The plan costs 30.00 a month and includes 60 credits; a further one costs 0.25. A simple conversation takes 1 credit, a
standard one 5, a complex one 10; an enterprise one costs 4.00, and any that was not resolved nothing. What is left is
good for two more months, 50 credits at most. The first 14 days are free.
"""

import pytest

from tests.cast import a_plan, acme
from tests.stories.ledger_of_a_year import Year

pytestmark = pytest.mark.django_db

AGREED = {
    "base_fee": "30.00",
    "rates": {"enterprise": "4.00"},
    "pool": {
        "credits": 60,
        "weights": {"simple": 1, "standard": 5, "complex": 10},
        "overage": {"model": "flat", "unit": "0.25"},
    },
    "rollover": {"periods": 2, "maximum": 50},
    "billable_outcomes": ["resolved"],
    "trial_days": 14,
    "trial_usage": "free",
}


class Desk(Year):
    """A year in which conversations are resolved, or not."""

    def resolves(self, count: int, tier: str = "simple", *, settled: str, heard: str | None = None) -> None:
        self.hears_late(count, tier, settled=settled, heard=heard or settled, outcome="resolved")


def test_a_year_from_the_trial_on() -> None:
    year = Desk(acme())
    year.begins(a_plan("support", **AGREED), "2027-01-01 00:00")
    year.resolves(10, settled="2027-01-05 12:00")
    year.resolves(1, "enterprise", settled="2027-01-14 23:59:59")
    year.says("", at="2027-01-14 23:59:59")
    year.says(
        """
        # 14 of 31 days were free: 30.00 - 30.00 x 14 / 31 (13.5484 -> 13.55) = 16.45.
        invoice 1, change, 01 Jan 2027 to 31 Jan 2027
          Support, base fee 15 Jan 2027 to 31 Jan 2027   16.45
          total                                          16.45
          due                                            16.45
        """,
        at="2027-01-15 00:00",
    )

    year.resolves(1, "enterprise", settled="2027-01-15 00:00:00")
    year.resolves(8, "standard", settled="2027-01-20 12:00")
    year.uses(5, settled="2027-01-20 12:00", outcome="escalated")
    year.uses(3, settled="2027-01-20 12:00")
    year.resolves(4, settled="2027-02-10 12:00")
    year.resolves(2, "standard", settled="2027-02-10 12:00")
    year.resolves(6, "standard", settled="2027-03-10 12:00")
    year.resolves(24, "standard", settled="2027-04-10 12:00")
    year.says(
        """
        # Included: 60 x 17 / 31 = 32.90 -> 33 credits. The 8 that were not resolved are not on it.
        invoice 2, cycle, 01 Jan 2027 to 31 Jan 2027
          Support, base fee 01 Feb 2027 to 28 Feb 2027                                    30.00
          1 enterprise conversation: free in the trial = 0.00 USD                          0.00
          10 simple x 1 = 10 credits; 10 credits: free in the trial = 0.00 USD             0.00
          1 enterprise conversation: 1 x 4.00 = 4.00 USD                                   4.00
          8 standard x 5 = 40 credits; 40 credits: 33 included, 7 x 0.25 = 1.75 USD        1.75
          total                                                                           35.75
          due                                                                             35.75

        # 46 are left.
        invoice 3, cycle, 01 Feb 2027 to 28 Feb 2027
          Support, base fee 01 Mar 2027 to 31 Mar 2027                                    30.00
          4 simple x 1 + 2 standard x 5 = 14 credits; 14 credits: 14 included = 0.00 USD   0.00
          total                                                                           30.00
          due                                                                             30.00

        # The old ones go first. 46 - 30 = 16 and 60 are left: 76. 50 of the 60 are kept.
        invoice 4, cycle, 01 Mar 2027 to 31 Mar 2027
          Support, base fee 01 Apr 2027 to 30 Apr 2027                                    30.00
          6 standard x 5 = 30 credits; 30 credits: 30 included (30 rolled over) = 0.00 USD   0.00
          total                                                                           30.00
          due                                                                             30.00

        # 50 + 60 = 110
        invoice 5, cycle, 01 Apr 2027 to 30 Apr 2027
          Support, base fee 01 May 2027 to 31 May 2027                                    30.00
          24 standard x 5 = 120 credits; 120 credits: 110 included (50 rolled over), 10 x 0.25 = 2.50 USD   2.50
          total                                                                           32.50
          due                                                                             32.50
        """,
        at="2027-05-01 01:00",
    )

    year.resolves(1, settled="2027-05-10 12:00")
    year.resolves(4, "standard", settled="2027-05-10 12:00")
    year.resolves(2, "complex", settled="2027-06-10 12:00")
    year.resolves(22, "standard", settled="2027-08-10 12:00")
    year.says(
        """
        # 39 are left.
        invoice 6, cycle, 01 May 2027 to 31 May 2027
          Support, base fee 01 Jun 2027 to 30 Jun 2027                                    30.00
          1 simple x 1 + 4 standard x 5 = 21 credits; 21 credits: 21 included = 0.00 USD   0.00
          total                                                                           30.00
          due                                                                             30.00

        # 39 - 20 = 19 and 60 are left, 50 are kept.
        invoice 7, cycle, 01 Jun 2027 to 30 Jun 2027
          Support, base fee 01 Jul 2027 to 31 Jul 2027                                    30.00
          2 complex x 10 = 20 credits; 20 credits: 20 included (20 rolled over) = 0.00 USD   0.00
          total                                                                           30.00
          due                                                                             30.00

        # 50 + 60 are left of a July without conversations, 50 of the 60 are kept.
        invoice 8, cycle, 01 Jul 2027 to 31 Jul 2027
          Support, base fee 01 Aug 2027 to 31 Aug 2027                                    30.00
          total                                                                           30.00
          due                                                                             30.00
        invoice 9, cycle, 01 Aug 2027 to 31 Aug 2027
          Support, base fee 01 Sep 2027 to 30 Sep 2027                                    30.00
          22 standard x 5 = 110 credits; 110 credits: 110 included (50 rolled over) = 0.00 USD   0.00
          total                                                                           30.00
          due                                                                             30.00
        """,
        at="2027-09-01 01:00",
    )

    year.resolves(13, "standard", settled="2027-09-10 12:00")
    year.resolves(12, "standard", settled="2027-10-10 12:00")
    year.resolves(10, "standard", settled="2027-11-10 12:00")
    year.says(
        """
        invoice 10, cycle, 01 Sep 2027 to 30 Sep 2027
          Support, base fee 01 Oct 2027 to 31 Oct 2027                                    30.00
          13 standard x 5 = 65 credits; 65 credits: 60 included, 5 x 0.25 = 1.25 USD       1.25
          total                                                                           31.25
          due                                                                             31.25
        invoice 11, cycle, 01 Oct 2027 to 31 Oct 2027
          Support, base fee 01 Nov 2027 to 30 Nov 2027                                    30.00
          12 standard x 5 = 60 credits; 60 credits: 60 included = 0.00 USD                 0.00
          total                                                                           30.00
          due                                                                             30.00

        # 10 are left, as far as is known.
        invoice 12, cycle, 01 Nov 2027 to 30 Nov 2027
          Support, base fee 01 Dec 2027 to 31 Dec 2027                                    30.00
          10 standard x 5 = 50 credits; 50 credits: 50 included = 0.00 USD                 0.00
          total                                                                           30.00
          due                                                                             30.00
        """,
        at="2027-12-01 01:00",
    )

    year.resolves(2, "standard", settled="2027-11-30 12:00", heard="2027-12-05 12:00")
    year.resolves(12, "standard", settled="2027-12-10 12:00")
    year.resolves(1, "complex", settled="2027-12-10 12:00")
    year.says(
        """
        # The two of November that came late cost nothing then, and took the 10 that December would have had: 70 - 60.
        invoice 13, cycle, 01 Dec 2027 to 31 Dec 2027
          Support, base fee 01 Jan 2028 to 31 Jan 2028                                    30.00
          12 standard x 5 + 1 complex x 10 = 70 credits; 70 credits: 60 included, 10 x 0.25 = 2.50 USD   2.50
          total                                                                           32.50
          due                                                                             32.50
        """,
        at="2028-01-01 01:00",
    )

    year.resolves(3, settled="2027-10-31 12:00", heard="2028-01-10 12:00")
    year.resolves(1, "standard", settled="2027-12-31 12:00", heard="2028-01-10 12:00")
    year.says(
        """
        # October had used all of its 60, so 3 more cost 0.75; 5 more of December 1.25. January leaves its 60.
        invoice 14, cycle, 01 Jan 2028 to 31 Jan 2028
          Support, base fee 01 Feb 2028 to 29 Feb 2028                                    30.00
          Usage of 01 Oct 2027 to 31 Oct 2027 that changed after invoice INV-000011: 0.75 instead of 0.00 USD   0.75
          Usage of 01 Dec 2027 to 31 Dec 2027 that changed after invoice INV-000013: 3.75 instead of 2.50 USD   1.25
          total                                                                           32.00
          due                                                                             32.00
        """,
        at="2028-02-01 01:00",
    )

    # Base fees 16.45 + 13 x 30.00 = 406.45
    # Usage     4.00 + 1.75 + 2.50 + 1.25 + 2.50 + 0.75 + 1.25 = 14.00
    year.ends("2028-02-01 01:30", total="420.45")
