"""Reports what model calls used to Parley, which bills by the conversation. See `Parley`."""

from parley_client.api import Api, Outcome, Remark, Reply
from parley_client.client import Parley
from parley_client.conversation import Conversation
from parley_client.problems import NotRecorded, Problem, RequestRefused, ServerSilent

__all__ = [
    "Api",
    "Conversation",
    "NotRecorded",
    "Outcome",
    "Parley",
    "Problem",
    "Remark",
    "Reply",
    "RequestRefused",
    "ServerSilent",
]
