"""Patroni keeps a cluster of two PostgreSQL servers in three members of detcd.

    cargo ci patroni [-- --dcs etcd3] [-- --detcd PROGRAM]

It needs PyPI's Patroni, which it installs into target/tools/patroni if it is not there, and a
PostgreSQL of the system (Debian's package `postgresql`), whose programs are only run: no service of
the system is touched. What is tried is printed line by line; the first that fails ends it with 1.
"""

import argparse
import glob
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = ROOT / "target" / "tools" / "patroni"
PATRONI = "4.1.5"
WAIT_MAX = 120  # seconds
STEP = 0.2  # seconds between two looks
# Patroni's shortest times: a leader that says nothing for so long is none any more.
TTL, LOOP_WAIT, RETRY_TIMEOUT = 20, 2, 3


def say(text):
    print(f"{time.monotonic() - START:6.1f} s  {text}", flush=True)


START = time.monotonic()


def eventually(what, condition):
    deadline = time.monotonic() + WAIT_MAX
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {WAIT_MAX} s for {what}")
        time.sleep(STEP)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def install():
    """A Python with Patroni."""
    python = TOOLS / "bin" / "python"
    wanted = f"import patroni.version as v, psycopg2; assert v.__version__ == '{PATRONI}'"
    is_there = python.exists() and subprocess.run(
        [python, "-c", wanted], stderr=subprocess.DEVNULL
    ).returncode == 0
    if not is_there:
        say("installs Patroni")
        # The user postgres has to be able to run it.
        python = next(it for it in ("/usr/bin/python3", sys.executable) if os.path.exists(it))
        subprocess.run([python, "-m", "venv", TOOLS], check=True)
        pip = [TOOLS / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        packages = [f"patroni[etcd,etcd3]=={PATRONI}", "psycopg2-binary"]
        subprocess.run([*pip, *packages], check=True)
    return TOOLS / "bin"


def postgres_programs():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
    if not found:
        sys.exit("patroni: there is no PostgreSQL: apt-get install postgresql")
    return os.path.dirname(found[-1])


class Detcd:
    """Three members."""

    def __init__(self, program, folder):
        self.ports = [(free_port(), free_port()) for _ in range(3)]
        urls = [f"m{i}=http://127.0.0.1:{peer}" for i, (_, peer) in enumerate(self.ports)]
        self.flags = []
        for i, (client, peer) in enumerate(self.ports):
            at, among = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
            self.flags.append([
                program, f"--name=m{i}", f"--data-dir={folder}/m{i}", "--enable-v2",
                f"--listen-client-urls={at}", f"--advertise-client-urls={at}",
                f"--listen-peer-urls={among}", f"--initial-advertise-peer-urls={among}",
                f"--initial-cluster={','.join(urls)}",
            ])
        self.folder = folder
        self.members = [None] * 3
        for i in range(3):
            self.start(i)
        for i in range(3):
            eventually("a member of detcd", lambda: self.page(i, "health"))

    def start(self, i):
        log = open(f"{self.folder}/m{i}.log", "ab")
        self.members[i] = subprocess.Popen(self.flags[i], stdout=log, stderr=log)

    def page(self, i, path):
        try:
            url = f"http://127.0.0.1:{self.ports[i][0]}/{path}"
            return json.load(urllib.request.urlopen(url, timeout=5))
        except (OSError, ValueError):
            return None

    def leader(self):
        for i in range(3):
            own = self.page(i, "v2/stats/self") or {}
            if own.get("state") == "StateLeader":
                return i
        return None

    def kill(self, i):
        self.members[i].kill()
        self.members[i].wait()

    def stop(self):
        for member in self.members:
            if member.poll() is None:
                member.kill()
                member.wait()


class Server:
    """A PostgreSQL server under Patroni."""

    def __init__(self, name, dcs, detcd, programs, postgres, folder, user):
        self.name, self.user, self.programs = name, user, programs
        self.folder = folder
        self.rest, self.port = free_port(), free_port()
        hosts = [f"127.0.0.1:{client}" for client, _ in detcd.ports]
        accounts = {
            "superuser": {"username": "postgres", "password": "s"},
            "replication": {"username": "replicator", "password": "r"},
        }
        config = {
            "scope": "pair",
            "name": name,
            "restapi": {"listen": f"127.0.0.1:{self.rest}",
                        "connect_address": f"127.0.0.1:{self.rest}"},
            dcs: {"hosts": hosts},
            "bootstrap": {
                "dcs": {"ttl": TTL, "loop_wait": LOOP_WAIT, "retry_timeout": RETRY_TIMEOUT,
                        "postgresql": {"use_pg_rewind": True}},
                "initdb": ["data-checksums", {"encoding": "UTF8"}],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}",
                "connect_address": f"127.0.0.1:{self.port}",
                "bin_dir": postgres,
                "data_dir": f"{folder}/{name}",
                "pgpass": f"{folder}/{name}.pgpass",
                "authentication": accounts,
                "parameters": {"unix_socket_directories": folder, "fsync": "on"},
                "pg_hba": ["host replication replicator 127.0.0.1/32 scram-sha-256",
                           "host all all 127.0.0.1/32 scram-sha-256"],
            },
        }
        self.config = f"{folder}/{name}.json"
        pathlib.Path(self.config).write_text(json.dumps(config))
        self.process = None
        self.start()

    def start(self):
        log = open(f"{self.folder}/{self.name}.log", "ab")
        self.process = subprocess.Popen(
            [self.programs / "patroni", self.config], stdout=log, stderr=log,
            user=self.user, group=self.user and pwd.getpwnam(self.user).pw_gid,
            start_new_session=True, cwd=self.folder,
        )

    def state(self):
        try:
            url = f"http://127.0.0.1:{self.rest}/patroni"
            return json.load(urllib.request.urlopen(url, timeout=5))
        except urllib.error.HTTPError as error:
            return json.load(error)
        except (OSError, ValueError):
            return {}

    def is_leader(self):
        state = self.state()
        return state.get("role") in ("primary", "master") and state.get("state") == "running"

    def follows(self):
        state = self.state()
        return state.get("role") == "replica" and state.get("replication_state") == "streaming"

    def sql(self, text):
        """The rows of a statement, or None if it cannot be carried out now."""
        line = (
            "import json, sys, psycopg2\n"
            f"c = psycopg2.connect('host=127.0.0.1 port={self.port} user=postgres password=s "
            "dbname=postgres connect_timeout=5')\n"
            "c.autocommit = True\n"
            "q = c.cursor()\n"
            "q.execute(sys.argv[1])\n"
            "print(json.dumps(q.fetchall() if q.description else []))\n"
        )
        ran = subprocess.run([self.programs / "python", "-c", line, text], capture_output=True)
        return json.loads(ran.stdout) if ran.returncode == 0 else None

    def kill(self):
        """Patroni and PostgreSQL at once, as a machine that loses power."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        try:
            first = int(pathlib.Path(f"{self.folder}/{self.name}/postmaster.pid").read_text().split()[0])
            os.kill(first, signal.SIGKILL)
        except (OSError, ValueError, IndexError):
            pass

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()


def write(server, number):
    eventually("a write", lambda: server.sql(f"insert into kept values ({number})") is not None)


def numbers(server):
    rows = server.sql("select number from kept order by number")
    return rows and [number for (number,) in rows]


def story(detcd, one, other):
    pair = [one, other]
    leader = eventually("a leader", lambda: next((it for it in pair if it.is_leader()), None))
    follower = other if leader is one else one
    say(f"{leader.name} leads")
    eventually("a follower", follower.follows)
    say(f"{follower.name} follows")
    eventually("a table", lambda: leader.sql("create table kept (number int)") is not None)
    write(leader, 1)
    eventually("a row at the follower", lambda: numbers(follower) == [1])

    at = eventually("a leader of detcd", lambda: detcd.leader() is not None and [detcd.leader()])[0]
    detcd.kill(at)
    say(f"killed m{at}, which led detcd")
    before = time.monotonic()
    while time.monotonic() < before + TTL + 2 * LOOP_WAIT:
        assert leader.is_leader(), "the leader of PostgreSQL changed with that of detcd"
        time.sleep(1)
    write(leader, 2)
    detcd.start(at)
    say(f"{leader.name} led on, longer than its key lives; m{at} is started again")

    leader.kill()
    begun = time.monotonic()
    say(f"killed {leader.name}")
    eventually("a failover", follower.is_leader)
    write(follower, 3)
    took = time.monotonic() - begun
    assert numbers(follower) == [1, 2, 3]
    say(f"{follower.name} leads and has every row, {took:.1f} s after the kill")
    leader.start()
    eventually("the killed one as a follower", leader.follows)
    eventually("its rows", lambda: numbers(leader) == [1, 2, 3])
    say(f"{leader.name} is back and follows")

    ctl = [leader.programs / "patronictl", "-c", leader.config, "switchover", "pair", "--force",
           "--leader", follower.name, "--candidate", leader.name]
    begun = time.monotonic()
    subprocess.run(ctl, check=True, stdout=subprocess.DEVNULL)
    eventually("a switchover", leader.is_leader)
    took = time.monotonic() - begun
    write(leader, 4)
    eventually("the other as a follower", follower.follows)
    eventually("its rows", lambda: numbers(follower) == [1, 2, 3, 4])
    say(f"switched over to {leader.name} in {took:.1f} s; {follower.name} follows")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--detcd", default=str(ROOT / "target" / "debug" / "detcd"))
    parser.add_argument("--dcs", choices=["etcd", "etcd3"], default="etcd")
    arguments = parser.parse_args()
    programs, postgres = install(), postgres_programs()
    folder = tempfile.mkdtemp(prefix="detcd-patroni-")
    # PostgreSQL does not run as root.
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        os.chmod(folder, 0o755)
    started = []
    try:
        detcd = Detcd(arguments.detcd, folder)
        started.append(detcd)
        say(f"three members of {arguments.detcd}")
        for name in ("pg1", "pg2"):
            server = Server(name, arguments.dcs, detcd, programs, postgres, folder, user)
            started.append(server)
        story(detcd, *started[1:])
        say("done")
    except (AssertionError, subprocess.SubprocessError) as error:
        say(f"failed: {error}; the logs are in {folder}")
        folder = None
        sys.exit(1)
    finally:
        for it in reversed(started):
            it.stop()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


main()
