"""Connects with psycopg2, starts a statement that sleeps, cancels it by libpq's PQcancel, and tells what became of it.

Usage: cancel.py CONNINFO wait|leave
"""
import os
import sys
import threading
import time

import psycopg2

sleeper, watcher = psycopg2.connect(sys.argv[1]), psycopg2.connect(sys.argv[1])
watcher.autocommit = True


def sleep():
    try:
        sleeper.cursor().execute("SELECT pg_sleep(86400)")
        print("slept", flush=True)
    except psycopg2.errors.QueryCanceled:
        print("cancelled", flush=True)


thread = threading.Thread(target=sleep, daemon=True)
thread.start()
with watcher.cursor() as cursor:
    running = 0
    while not running:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'",
            (sleeper.info.backend_pid,),
        )
        running = cursor.fetchone()[0]
        time.sleep(0.01)
print("server", watcher.info.parameter_status("server_version"), "TLS", watcher.info.ssl_in_use, flush=True)
sleeper.cancel()
if sys.argv[2] == "wait":
    thread.join()
else:
    print("asked", flush=True)
os._exit(0)
