"""One requester asks for much, another for little: its lookups are answered, and soon; and it pages and sorts all the same."""
import itertools
import multiprocessing
import os
import sys
import time

import ldap
from ldap.controls import SimplePagedResultsControl
from ldap.controls.sss import SSSRequestControl

from front import connect

RXA = "ou=RXA,o=federation"
# of the greedy one: processes with a connection each, and lists at once on each
CONNECTIONS, LISTS = 8, 4
PARKED = 60
bad = 0


def check(what, good, detail=""):
    global bad
    print(f"ok    {what}" if good else f"FAIL  {what}: {detail}", flush=True)
    bad |= not good


def ask_for_much(ready, stop):
    """Lists without end, each another one, so that none is shared; half of them are given up at once."""
    connection, numbers, asked = connect("connector-rxc"), itertools.count(), []
    ready.release()
    while not stop.is_set():
        while len(asked) < LISTS:
            text = f"(&(objectClass=person)(!(cn=no{os.getpid()}-{next(numbers)})))"
            asked.append(connection.search(RXA, ldap.SCOPE_SUBTREE, text, ["cn", "sn", "mail", "uid"]))
            if len(asked) % 2:
                connection.abandon(asked.pop())
                asked.append(connection.search(RXA, ldap.SCOPE_SUBTREE, text, ["cn"]))
        try:
            connection.result(asked.pop(0), all=1, timeout=40)
        except ldap.LDAPError:
            time.sleep(0.2)


def lookups(seconds):
    connection, taken, failed = connect("client-mail"), [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            if len(connection.search_s(RXA, ldap.SCOPE_SUBTREE, "(uid=alice)", ["cn"])) != 1:
                failed.append("nobody")
        except ldap.LDAPError as error:
            failed.append(type(error).__name__)
        taken.append(time.monotonic() - began)
        time.sleep(0.1)
    return sorted(taken), failed


def beside_lists():
    ready, stop = multiprocessing.Semaphore(0), multiprocessing.Event()
    greedy = [multiprocessing.Process(target=ask_for_much, args=(ready, stop), daemon=True) for _ in range(CONNECTIONS)]
    for process in greedy:
        process.start()
    for _ in greedy:
        ready.acquire(timeout=20)
    time.sleep(1)
    taken, failed = lookups(8)
    stop.set()
    for process in greedy:
        process.join(60)
    median, longest = taken[len(taken) // 2], taken[-1]
    print(f"      {len(taken)} lookups beside {CONNECTIONS * LISTS} lists: median {median * 1000:.0f} ms, longest {longest * 1000:.0f} ms")
    check("lookups beside another's lists are answered", not failed, failed)
    # a list takes its directory hundreds of milliseconds; behind all of them it would be many seconds
    check("and soon", median < 1 and longest < 5, f"median {median:.2f} s, longest {longest:.2f} s")


def first_page(certificate, sort=False):
    """Begins a paged search that is left, on a connection of its own."""
    connection = connect(certificate)
    controls = [SimplePagedResultsControl(True, size=2, cookie="")]
    if sort:
        controls.append(SSSRequestControl(criticality=True, ordering_rules=["sn"]))
    text = f"(&(objectClass=person)(sn=A*)(!(cn=no{id(connection)})))"
    try:
        connection.result3(connection.search_ext(RXA, ldap.SCOPE_SUBTREE, text, ["cn"], serverctrls=controls))
    except ldap.LDAPError as error:
        return connection, type(error).__name__
    return connection, ""


def beside_pages(sort):
    what = "sorted pages" if sort else "pages"
    left = [first_page("connector-rxc", sort) for _ in range(PARKED)]
    held = sum(not error for _, error in left)
    others = [first_page("client-mail", sort) for _ in range(4)]
    check(f"{what} beside {held} of another that are left", not any(error for _, error in others), [error for _, error in others])
    for connection, _ in left + others:
        connection.unbind()


if __name__ == "__main__":
    beside_lists()
    beside_pages(sort=False)
    beside_pages(sort=True)
    sys.exit(bad)
