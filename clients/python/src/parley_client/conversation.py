"""How are the calls of one conversation recorded together? Said once whose it is, turn by turn, closed at the end."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, cast

from parley_client.events import CommonDetails, Details, Name
from parley_client.streams import RecordedStream

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from parley_client.client import Parley


class Conversation:
    """A customer's conversation. As a context manager (with, async with) it may close itself at the end.

    `turn` is the number of the turn that is going on, where the product counts them; without it, and without `turn()`,
    Parley counts the answered calls. `close=True` closes the conversation when the block ends well; `outcome` (also
    to be set later) says how it ended.
    """

    def __init__(
        self,
        parley: Parley,
        customer: Name,
        id: Name,
        *,
        turn: Optional[int],
        close: bool,
        outcome: Optional[str],
        details: CommonDetails,
    ) -> None:
        self.outcome = outcome
        self._parley = parley
        self._customer = customer
        self._id = id
        self._turn = turn
        self._closes = close
        self._details = details

    def turn(self, number: Optional[int] = None) -> int:
        """The user said something: a turn begins, with this number or the next one.

        A process that did not see the whole conversation must say the number.
        """
        self._turn = number if number is not None else (self._turn or 0) + 1
        return self._turn

    def record(self, response: Any = None, **details: Unpack[Details]) -> Optional[str]:
        """Record a call of this turn; see Parley.record."""
        return self._parley.record(
            response, customer=self._customer, conversation=self._id, **self._with_common(details)
        )

    def stream(self, stream: Any, **details: Unpack[Details]) -> RecordedStream:
        """The same stream, recorded when it ends; see Parley.stream."""
        return self._parley.stream(stream, customer=self._customer, conversation=self._id, **self._with_common(details))

    def close(self, outcome: Optional[str] = None) -> None:
        """It is over; what is said from now on is another sitting of it."""
        self._parley.close_conversation(customer=self._customer, conversation=self._id, outcome=outcome or self.outcome)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if self._closes and error is None:
            self.close()

    async def __aenter__(self) -> Conversation:
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.__exit__(kind, error, trace)

    def _with_common(self, details: Details) -> Details:
        said: dict[str, Any] = {**self._details, **details}
        if self._turn is not None:
            said.setdefault("turn", self._turn)
        return cast(Details, said)
