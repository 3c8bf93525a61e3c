"""How does a model refer, by several columns of its own, to a row that may not be there?"""

from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor
from django.db.models.query_utils import PathInfo


class _Accessor(ForwardManyToOneDescriptor):  # type: ignore[type-arg] # not generic when it runs
    def get_object(self, instance: models.Model) -> Any:
        try:
            return super().get_object(instance)
        except ObjectDoesNotExist:
            return None


class RowOrNone(models.ForeignObject):  # type: ignore[type-arg] # likewise
    """A ForeignObject whose columns, never null, lead to a row or to none; select_related joins it from the left.

    To ask for a column of that row, even for one that equals a column here, is to ask that there is one: Django must
    not take the one for the other, as it may where a key always leads somewhere.
    """

    forward_related_accessor_class = _Accessor

    def get_path_info(self, filtered_relation: Any = None) -> list[PathInfo]:
        return [info._replace(direct=False) for info in super().get_path_info(filtered_relation)]
