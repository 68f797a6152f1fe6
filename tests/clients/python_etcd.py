"""The integration tests of PyPI's python-etcd 0.4.5, with the program `etcd` of PATH.

They use fixed ports: run this in a network namespace of its own. What they wait for with fixed sleeps
is waited for by a look at the members. Left out are those of `test_auth`, which expect users and roles
in the shape of etcd 2.0, and fail with etcd 3.4.23 alike, and those of `test_ssl`, which make
certificates that no OpenSSL takes any more.
"""

import fcntl
import json
import multiprocessing
import os
import socket
import struct
import sys
import time
import types
import unittest
import urllib.request

from etcd.tests.integration import helpers, test_simple

WAIT_MAX = 40  # seconds
PORT = 6001


def bring_up_loopback():
    SIOCSIFFLAGS, UP = 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", UP))


def eventually(what, condition):
    deadline = time.monotonic() + WAIT_MAX
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, f"waited {WAIT_MAX} s for {what}"
        time.sleep(0.02)


def page(port, path):
    return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).read()


class Members(helpers.EtcdProcessHelper):
    """The tests' own helper, which begins and ends when the members do."""

    def run(self, number=1, proc_args=()):
        super().run(number, list(proc_args))
        self.number = number
        for slot in range(number):
            # Until it knows where clients reach each member.
            machines = lambda: page(self.port_range_start + slot, "/v2/machines").split(b",")
            eventually("the members' URLs", lambda: len(machines()) == number)

    def stop(self):
        # Nobody waits for those who are left.
        self.number = sys.maxsize
        super().stop()

    def kill_one(self, slot):
        _, process = self.processes[slot]
        process.kill()
        process.wait()
        super().kill_one(slot)
        # Those who are left lead on, and have what was written before.
        if 2 * len(self.processes) > self.number:
            for left in self.processes:
                port = self.port_range_start + left
                eventually("a quorum", lambda: page(port, "/v2/keys?quorum=true"))


def sleep(seconds):
    """A second, or a process of its own, waits until somebody watches."""
    if seconds == 1 or multiprocessing.parent_process():
        watchers = lambda: json.loads(page(PORT, "/v2/stats/store"))["watchers"]
        eventually("a watcher", lambda: watchers() > 0)
    else:
        time.sleep(seconds)


class Queue:
    """A queue that waits longer than two seconds, on a machine with much to do."""

    def __init__(self):
        self.queue = multiprocessing.Queue()

    def put(self, item):
        self.queue.put(item)

    def get(self, timeout=None):
        return self.queue.get(timeout=WAIT_MAX)


bring_up_loopback()
helpers.time = types.SimpleNamespace(sleep=lambda _: None)
helpers.EtcdProcessHelper = Members
test_simple.time = types.SimpleNamespace(sleep=sleep)
test_simple.multiprocessing = types.SimpleNamespace(Process=multiprocessing.Process, Queue=Queue)
suite = unittest.defaultTestLoader.loadTestsFromModule(test_simple)
result = unittest.TextTestRunner(verbosity=2).run(suite)
sys.stderr.flush()
# A watcher of theirs that has missed an event may wait for ever.
os._exit(not result.wasSuccessful())
