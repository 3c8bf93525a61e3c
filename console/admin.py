"""Which tables can an operator look at? All of them; those with a key of two columns have pages in console.views."""

from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User

from console import (
    agreed,
    backfilled,
    callers,
    collected,
    credited,
    customers,
    happened,
    itemized,
    owed,
    phased,
    posted,
    prepaid,
    promised,
    quarantined,
    subscribed,
    taxed,
)
from console.admin_site import site

AGREED = (agreed, customers, subscribed, phased)
HAPPENED = (happened, quarantined, backfilled)
OWED = (owed, itemized, credited, promised, prepaid, taxed, posted, collected)

for tables in (*AGREED, *HAPPENED, *OWED, callers):
    tables.register(site)
site.register(User, UserAdmin)
site.register(Group, GroupAdmin)
