"""Which tables can an operator look at? All of them; those with a key of two columns have pages in console.views."""

from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User

from console import agreed, callers, collected, happened, owed, posted
from console.admin_site import site

for tables in (agreed, happened, owed, posted, collected, callers):
    tables.register(site)
site.register(User, UserAdmin)
site.register(Group, GroupAdmin)
