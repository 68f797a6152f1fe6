"""PyPI's etcd3gw, by its own tests, and tooz's driver for it, against the port of the command line."""

import os
import subprocess
import sys
import threading
import unittest
import uuid

import etcd3gw
import tooz
import tooz.coordination

WAIT_MAX = 60  # seconds
SUITES = ["etcd3gw.tests.test_etcd3gw", "etcd3gw.tests.test_client"]


def tests(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests(test)
        else:
            yield test.id()


def own_tests(port):
    """Those of watches sleep, so each has a process of its own."""
    os.environ["TOOZ_TEST_ETCD_PORT"] = str(port)
    os.environ["TOOZ_TEST_HTTP_URL"] = f"http://localhost:{port}"
    names = list(tests(unittest.defaultTestLoader.loadTestsFromNames(SUITES)))
    assert len(names) > 30, names
    slow = [name for name in names if ".test_watch_" in name]
    groups = [[name] for name in slow] + [[name for name in names if name not in slow]]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "unittest", *group],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for group in groups
    ]
    for group, process in zip(groups, running):
        output, _ = process.communicate(timeout=WAIT_MAX)
        assert process.returncode == 0, output
        assert f"Ran {len(group)} test" in output, output
        assert "skipped" not in output, output


def coordinators(port):
    """tooz's groups and locks, as its own tests use them."""
    url = f"etcd3+http://localhost:{port}?api_version=v3"
    one, other = [tooz.coordination.get_coordinator(url, uuid.uuid4().hex.encode()) for _ in range(2)]
    for coordinator in [one, other]:
        coordinator.start()
    group = uuid.uuid4().hex.encode()
    one.create_group(group).get(timeout=WAIT_MAX)
    try:
        other.create_group(group).get(timeout=WAIT_MAX)
        raise AssertionError("the group exists")
    except tooz.coordination.GroupAlreadyExist:
        pass
    assert group in other.get_groups().get(timeout=WAIT_MAX)
    joined = threading.Event()
    one.watch_join_group(group, lambda _event: joined.set())
    one.run_watchers()
    other.join_group(group, {"a": "b"}).get(timeout=WAIT_MAX)
    assert len(one.get_members(group).get(timeout=WAIT_MAX)) == 1
    one.run_watchers()
    assert joined.is_set()
    other.heartbeat()
    lock, same = one.get_lock(b"lock"), other.get_lock(b"lock")
    assert lock.acquire()
    assert not same.acquire(blocking=False)
    assert lock.heartbeat()
    assert lock.release()
    assert same.acquire()
    assert same.release()
    other.leave_group(group).get(timeout=WAIT_MAX)
    one.delete_group(group).get(timeout=WAIT_MAX)
    for coordinator in [one, other]:
        coordinator.stop()


def big_values(port):
    client = etcd3gw.client(port=port)
    value = b"\xff\xfe" * (512 * 1024)
    client.put("big", value)
    assert client.get("big") == [value]


def main():
    port = int(sys.argv[1])
    for check in [own_tests, coordinators, big_values]:
        check(port)
        print(check.__name__, "ok")


main()
