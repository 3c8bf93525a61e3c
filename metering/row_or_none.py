"""How does a model refer, by several columns of its own, to a row that may not be there?"""

from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor


class _Accessor(ForwardManyToOneDescriptor):  # type: ignore[type-arg] # not generic when it runs
    def get_object(self, instance: models.Model) -> Any:
        try:
            return super().get_object(instance)
        except ObjectDoesNotExist:
            return None


class RowOrNone(models.ForeignObject):  # type: ignore[type-arg] # likewise
    """A ForeignObject whose columns, never null, lead to a row or to none; select_related joins it from the left.

    Whether there is one is asked by a column of that row: `isnull` of the relation itself is about these columns.
    """

    forward_related_accessor_class = _Accessor
