"""Did the provider refuse a call that failed? Pure.

A provider charges nothing for a request that it answers with an error. Such a call used no tokens, and that is known.
A call that was broken off (timeout, lost connection, cancelled) may have been answered and paid for: what it used is
not known, and unknown is not zero.
"""

import re

BROKEN_OFF = re.compile(r"timeout|timedout|connect|cancel|disconnect|abort|interrupt|brokenpipe|closed", re.IGNORECASE)
STATUSES_BROKEN_OFF = frozenset({408, 499, 504, 522, 524})
REFUSALS = frozenset(
    {
        "apistatuserror",
        "authenticationerror",
        "badrequesterror",
        "budgetexceedederror",
        "conflicterror",
        "contentpolicyviolationerror",
        "contextwindowexceedederror",
        "internalservererror",
        "notfounderror",
        "overloadederror",
        "permissiondeniederror",
        "ratelimiterror",
        "requesttoolargeerror",
        "resourceexhausted",
        "serviceunavailableerror",
        "throttlingexception",
        "unprocessableentityerror",
        "unsupportedparamserror",
    }
)
"""Exceptions of the providers' clients that tell of an answer with an error status, in lower case."""
_WORD = re.compile(r"[A-Za-z_]\w*")
_STATUS = re.compile(r"(?:error code|status(?:[ _]code)?|HTTP(?:/\d(?:\.\d)?)?)\W{0,3}([45]\d\d)\b", re.IGNORECASE)


def was_refused(error: str, *, status: int | None = None, message: str = "") -> bool:
    """Whether `error` (the name of an exception, or an HTTP status as text) tells that the provider said no."""
    words = _WORD.findall(error[:200])
    name = words[-1].lower() if words else ""
    if BROKEN_OFF.search(name):
        return False
    if status is None and error.strip().isdecimal():
        status = int(error.strip()[:4])
    if status is None and (stated := _STATUS.search(message[:500])):
        status = int(stated[1])
    if status is not None and 400 <= status < 600:
        return status not in STATUSES_BROKEN_OFF
    return name in REFUSALS
