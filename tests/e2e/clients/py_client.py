"""Drives Debian's Python client over watch, lease and lock (it has no election), and prints what it
saw: one line a fact, nothing that differs from run to run. At each line "DISTURB" it waits for a
line of input: the test may kill the leader there.

usage: py_client.py PORT, by the Python that Debian's packages belong to
"""
import sys
import threading
import time

import etcd3


def say(*parts):
    print(*parts, flush=True)


def disturb():
    say("DISTURB")
    sys.stdin.readline()


def until(what, condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def again(call):
    """A call that may meet the moment between two leaders."""
    for turn in range(40):
        try:
            return call()
        except etcd3.exceptions.Etcd3Exception:
            if turn == 39:
                raise
            time.sleep(0.25)


def describe(event):
    kind = type(event).__name__.removesuffix("Event")
    text = f"{kind} {event.key.decode()} {event.value.decode()} version {event.version}"
    return f"{text} at {event.mod_revision}" + (
        f" before {event.prev_value.decode()}" if event.prev_value else ""
    )


def watches(client):
    seen = {"callback": [], "prefix": [], "history": []}
    ids = [
        client.add_watch_callback(
            "w/a", lambda r: seen["callback"].extend(map(describe, r.events)), prev_kv=True
        )
    ]
    events, cancel = client.watch_prefix("w/")
    reader = threading.Thread(
        target=lambda: seen["prefix"].extend(map(describe, events)), daemon=True
    )
    reader.start()
    for value in "123":
        client.put("w/a", value)
    client.put("w/b", "x")
    client.delete("w/a")
    until("five events", lambda: len(seen["prefix"]) == 5)
    disturb()
    again(lambda: client.get("w/b"))
    client.put("w/a", "after")
    client.delete_prefix("w/")
    until("eight events", lambda: len(seen["prefix"]) == 8)
    cancel()
    reader.join(20)
    say("watch ended", not reader.is_alive())
    history = lambda r: seen["history"].extend(map(describe, r.events))  # noqa: E731
    ids.append(
        client.add_watch_callback("w/", history, range_end="w0", start_revision=2)
    )
    until("the whole history", lambda: len(seen["history"]) == 8)
    for one in ids:
        client.cancel_watch(one)
    threading.Timer(0.5, lambda: client.put("w/once", "now")).start()
    say("watch once", describe(client.watch_once("w/once", timeout=20)))
    for name, lines in seen.items():
        for line in lines:
            say("watch", name, line)
    client.compact(4)
    told = []
    client.add_watch_callback("w/a", told.append, start_revision=2)
    until("told that it is compacted", lambda: told)
    say("watch compacted", type(told[0]).__name__, told[0].compacted_revision)


def leases(client):
    lease = client.lease(30)  # nobody keeps it alive while the leader changes
    client.put("l/a", "leased", lease)
    client.put("l/b", "leased", lease)
    say("lease granted", lease.granted_ttl, sorted(key.decode() for key in lease.keys))
    disturb()
    for _ in range(3):
        answers = again(lease.refresh)
        time.sleep(1)
    say("lease refreshed", [answer.TTL for answer in answers], client.get("l/a")[0])
    say("lease remaining", 25 <= lease.remaining_ttl <= 30)
    lease.revoke()
    say("lease revoked", client.get("l/a")[0], lease.remaining_ttl)
    short = client.lease(2)
    client.put("l/c", "short", short)
    until("it expires", lambda: client.get("l/c")[0] is None)
    say("lease expired", [answer.TTL for answer in short.refresh()], short.remaining_ttl)


def locks(client, other):
    """Waiting for a lock fails in the client itself with the retry library that Debian has: only
    whether it is free is asked."""
    lock = client.lock("lock", ttl=10)
    say("lock acquired", lock.acquire(timeout=5), lock.is_acquired())
    rival = other.lock("lock", ttl=10)
    say("lock held by the other", rival.is_acquired())
    disturb()
    again(lock.refresh)
    say("lock kept", again(lock.is_acquired), again(rival.is_acquired))
    say("lock released", again(lock.release), lock.is_acquired())
    say("lock passed on", rival.acquire(timeout=5), rival.is_acquired(), lock.is_acquired())
    say("lock released by another", lock.release(), rival.is_acquired())
    say("lock released", rival.release())
    with client.lock("lock", ttl=10) as held:
        say("lock in a block", held.is_acquired())
    say("lock after it", client.get("/locks/lock")[0])


def main():
    connect = lambda: etcd3.client(  # noqa: E731
        host="127.0.0.1", port=int(sys.argv[1]), timeout=10
    )
    client = connect()
    watches(client)
    leases(client)
    locks(client, connect())
    say("END")


main()
