"""A product of its own process: records calls and says of each, on standard output, that it is recorded.

    python producer.py URL SPOOL NAME CALLS [WHAT THEN]

WHAT THEN: `wait` to be killed, `exit` without a word to the client, `fork` and let parent and child record the other
half each, `sigterm` to close the client when asked to end.
"""

import os
import signal
import sys
import time

from parley_client import Parley


def main(url: str, spool: str, name: str, calls: str, then: str = "wait") -> None:
    parley = Parley(url, os.environ["PARLEY_KEY"], spool=spool or None, batch_events=20, linger_s=0.05)
    if then == "sigterm":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0 if parley.close(5) else 1))
    if then == "fork":
        record(parley, name, int(calls))
        child = os.fork()
        record(parley, f"{name}-{'parent' if child else 'child'}", int(calls))
        if child:
            os.waitpid(child, 0)
        return
    record(parley, name, int(calls))
    while then != "exit":
        time.sleep(0.01)


def record(parley: Parley, name: str, calls: int) -> None:
    for number in range(calls):
        with parley.conversation(customer="acme", id=f"{name}-{number // 10}") as c:
            c.turn(number % 10 + 1)
            usage = {"prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306}
            response = {"id": f"chatcmpl-{name}-{number:08}", "object": "chat.completion", "model": "gpt-5"}
            event_id = c.record({**response, "usage": usage})
            os.write(1, f"{event_id}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
