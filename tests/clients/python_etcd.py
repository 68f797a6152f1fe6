"""The integration tests of PyPI's python-etcd 0.4.5, with the program `etcd` of PATH.

They use fixed ports: run this in a network namespace of its own. What their helper waits for with
fixed sleeps is waited for by a look at the members. Left out are those of `test_auth`, which expect
users and roles in the shape of etcd 2.0, and fail with etcd 3.4.23 alike, and those of `test_ssl`,
which make certificates of a kind that nobody takes any more.
"""

import fcntl
import socket
import struct
import sys
import time
import unittest
import urllib.request

from etcd.tests.integration import helpers, test_simple

WAIT_MAX = 40  # seconds


def bring_up_loopback():
    SIOCSIFFLAGS, UP = 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", UP))


def wait_until_served(port, members):
    """Until a member knows where clients reach each member."""
    deadline = time.monotonic() + WAIT_MAX
    while True:
        try:
            url = f"http://127.0.0.1:{port}/v2/machines"
            machines = urllib.request.urlopen(url, timeout=5).read().split(b",")
            if len(machines) == members:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, f"port {port} does not serve {members} members"
        time.sleep(0.05)


class Members(helpers.EtcdProcessHelper):
    """The tests' own helper, which begins and ends when the members do."""

    def run(self, number=1, proc_args=()):
        super().run(number, list(proc_args))
        for slot in range(number):
            wait_until_served(self.port_range_start + slot, number)

    def kill_one(self, slot):
        _, process = self.processes[slot]
        process.kill()
        process.wait()
        super().kill_one(slot)


class NoSleep:
    @staticmethod
    def sleep(_):
        pass


bring_up_loopback()
helpers.time = NoSleep
helpers.EtcdProcessHelper = Members
suite = unittest.defaultTestLoader.loadTestsFromModule(test_simple)
result = unittest.TextTestRunner(verbosity=2).run(suite)
sys.exit(not result.wasSuccessful())
