"""PyPI's etcd3 as a user, over TLS: CA, certificate, key and ports are on the command line."""

import sys

import etcd3
import etcd3.exceptions
import grpc

WAIT_MAX = 30  # seconds


def client(port, user, password):
    authority, certificate, key = sys.argv[1:4]
    return etcd3.client(
        host="127.0.0.1",
        port=int(port),
        ca_cert=authority,
        cert_cert=certificate,
        cert_key=key,
        user=user,
        password=password,
        timeout=WAIT_MAX,
    )


def refused(call, code):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
    else:
        raise AssertionError("it is refused")


def main():
    ports = sys.argv[4:]
    alice = [client(port, "alice", "pw") for port in ports]
    for one in alice:
        one.put("a/python", "1")
        assert one.get("a/python")[0] == b"1"
        refused(lambda: one.put("b", "1"), grpc.StatusCode.PERMISSION_DENIED)
        refused(lambda: one.get("b"), grpc.StatusCode.PERMISSION_DENIED)
    events, cancel = alice[0].watch_prefix("a/watched")
    alice[1].put("a/watched/1", "x")
    assert next(events).value == b"x"
    cancel()
    lease = alice[2].lease(600)
    alice[2].put("a/leased", "1", lease=lease)
    lease.revoke()
    assert alice[0].get("a/leased") == (None, None)
    root = client(ports[0], "root", "pw")
    root.put("b", "1")
    assert root.get("b")[0] == b"1"
    refused(lambda: client(ports[0], "alice", "no"), grpc.StatusCode.INVALID_ARGUMENT)
    print("ok")


main()
