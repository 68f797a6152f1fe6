"""What PyPI's etcd3 offers, against the endpoints of the command line."""

import sys

import etcd3
import etcd3.exceptions

WAIT_MAX = 30  # seconds


def clients(endpoints):
    for endpoint in endpoints.split(","):
        host, port = endpoint.split(":")
        yield etcd3.client(host=host, port=int(port), timeout=WAIT_MAX)


def keys(one, other):
    one.put("dir/a", "1")
    one.put("dir/b", "2")
    assert other.get("dir/a")[0] == b"1"
    assert [value for value, _ in other.get_prefix("dir/")] == [b"1", b"2"]
    descending = other.get_prefix("dir/", sort_order="descend", sort_target="key")
    assert [meta.key for _, meta in descending] == [b"dir/b", b"dir/a"]
    assert one.get("nothing") == (None, None)
    assert one.replace("dir/a", "1", "one")
    assert not one.replace("dir/a", "1", "uno")
    assert one.put_if_not_exists("dir/c", "3")
    assert not one.put_if_not_exists("dir/c", "4")
    assert one.delete("dir/c")
    assert not one.delete("dir/c")
    one.delete_prefix("dir/")
    assert list(other.get_prefix("dir/")) == []
    big = b"x" * (1024 * 1024)
    one.put("big", big)
    assert other.get("big")[0] == big


def transactions(one, other):
    one.put("t", "1")
    txn = one.transactions
    compare = [txn.value("t") == "1", txn.version("t") > 0, txn.create("new") == 0]
    done, answers = one.transaction(
        compare=compare,
        success=[txn.put("t", "2"), txn.get("t"), txn.delete("new")],
        failure=[txn.get("t")],
    )
    assert done, answers
    assert answers[1][0][0] == b"2", answers
    done, answers = other.transaction(
        compare=compare, success=[txn.delete("t")], failure=[txn.get("t")]
    )
    assert not done
    assert answers[0][0][0] == b"2", answers


def watches(one, other):
    events, cancel = one.watch_prefix("w/")
    other.put("w/1", "a")
    other.put("w/2", "b")
    other.delete("w/1")
    seen = [next(events) for _ in range(3)]
    assert [event.key for event in seen] == [b"w/1", b"w/2", b"w/1"]
    assert [type(event).__name__ for event in seen] == ["PutEvent", "PutEvent", "DeleteEvent"]
    cancel()

    revision = seen[0].mod_revision
    events, cancel = other.watch("w/2", start_revision=revision)
    assert next(events).value == b"b"
    cancel()

    one.compact(revision + 1)
    events, cancel = one.watch("w/1", start_revision=1)
    try:
        next(events)
        raise AssertionError("the history is compacted")
    except etcd3.exceptions.RevisionCompactedError as error:
        assert error.compacted_revision == revision + 1, error.compacted_revision


def leases(one, other):
    lease = one.lease(600)
    one.put("leased", "v", lease=lease)
    assert lease.granted_ttl == 600
    assert 0 < lease.remaining_ttl <= 600
    assert lease.keys == [b"leased"]
    assert [answer.TTL for answer in lease.refresh()] == [600]
    lease.revoke()
    assert other.get("leased") == (None, None)


def locks(one, other):
    """etcd3 builds its lock of a transaction and a lease."""
    first = one.lock("lock", ttl=30)
    assert first.acquire(timeout=WAIT_MAX)
    assert first.is_acquired()
    assert first.release()
    second = other.lock("lock", ttl=30)
    assert second.acquire(timeout=WAIT_MAX)
    assert not first.is_acquired()
    assert second.release()


def cluster(one, _other):
    members = list(one.members)
    assert sorted(member.name for member in members) == ["n1", "n2", "n3"]
    status = one.status()
    assert status.leader.id in [member.id for member in members]
    assert status.db_size > 0
    assert len(list(one.list_alarms())) == 0


def main():
    one, other, _ = clients(sys.argv[1])
    for check in [keys, transactions, watches, leases, locks, cluster]:
        check(one, other)
        print(check.__name__, "ok")


main()
