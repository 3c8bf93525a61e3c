"""Who stops the embedded PostgreSQL when nobody uses it any more, even if its users were killed?

This process: it is the server's parent and waits for the exclusive lock on the file of which every user holds a shared
lock. The kernel drops the locks of a killed process, so the server never outlives its last user. Started by
`EmbeddedPostgres.start`; it needs the standard library only, which keeps it small and quick.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading


def main() -> None:
    order = json.loads(sys.argv[1])
    server = subprocess.Popen(order["command"], pass_fds=order["inherited"], **order["options"])

    def stop_server(*_: object) -> None:
        server.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown, as `pg_ctl stop -m fast`

    def stop_when_unused() -> None:
        users = os.open(order["users_lock"], os.O_RDWR)
        fcntl.flock(users, fcntl.LOCK_EX)
        stop_server()

    signal.signal(signal.SIGTERM, stop_server)
    threading.Thread(target=stop_when_unused, daemon=True).start()
    status = server.wait()
    shutil.rmtree(order["leftovers"], ignore_errors=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
