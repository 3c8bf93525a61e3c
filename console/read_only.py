"""What may be done to a table on the operator's desk? Looking, by all staff, and no more unless said so."""

import json
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from console.admin_site import human_name

if TYPE_CHECKING:  # the classes of Django cannot be subscripted at run time
    _ModelAdmin = admin.ModelAdmin[Any]
    _TabularInline = admin.TabularInline[Any, Any]
    _Paginator = Paginator[Any]
else:
    _ModelAdmin, _TabularInline, _Paginator = admin.ModelAdmin, admin.TabularInline, Paginator

LISTED_AT_MOST = 10_000
"""Rows counted and paged through; whoever looks for an older one searches or filters."""


class _Looking:
    """Permissions: staff looks, nobody adds, changes or deletes."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_active and request.user.is_staff

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class CappedPaginator(_Paginator):
    """Counts no further than LISTED_AT_MOST: a table of millions opens as fast as a small one."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows[:LISTED_AT_MOST].count())


class ReadOnlyAdmin(_Looking, _ModelAdmin):
    """A table to look at: what is frozen stays frozen, and money moves elsewhere."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = CappedPaginator
    list_per_page = 50
    actions = None
    hidden: tuple[str, ...] = ()
    """Columns nobody needs to see, such as digests of secrets."""

    class Media:
        css = {"all": ["console/console.css"]}

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields or [field.name for field in self._columns() if field.name not in self.hidden]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.get_fields(request, obj)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        return self.list_view(request, extra_context)

    def list_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, or what its actions do to it, for a table that has some."""
        title = human_name(self.opts.app_label, self.opts.object_name or "")
        return super().changelist_view(request, {"title": title} | (extra_context or {}))

    def _columns(self) -> "list[models.Field[Any, Any]]":
        return [field for field in self.model._meta.fields if not isinstance(field, models.BinaryField)]


class ReadOnlyInline(_Looking, _TabularInline):
    """Rows that belong to another, shown on its page."""

    extra = 0
    can_delete = False
    show_change_link = False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields


def pretty_json(value: object) -> SafeString:
    """JSON with a line for every member; for columns of our own, escaped."""
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False))
