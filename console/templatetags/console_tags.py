"""The amounts of `console.amounts` and the links of `console.links`, for templates."""

from django import template

from console.amounts import conversation_cost, supplier_cost
from console.links import event_url, events_url

register = template.Library()
register.filter("supplier_cost", supplier_cost)
register.filter("conversation_cost", conversation_cost)
register.simple_tag(event_url, name="event_url")
register.simple_tag(events_url, name="events_url")
