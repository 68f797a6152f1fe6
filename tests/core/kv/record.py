#!/usr/bin/env python3
"""Has etcd itself write the outputs of the transcripts tests/core/kv/etcd-*.txt.

    record.py PATH-TO-ETCD FILE...           runs each file on a fresh etcd and rewrites its outputs
    record.py PATH-TO-ETCD --random SEED N   prints a transcript of N random commands

The language of the transcripts is that of transcripts.rs beside this file.
"""

import base64, json, os, random, shlex, shutil, subprocess, sys, tempfile, time, urllib.error, urllib.request


class Etcd:
    def __init__(self, binary):
        self.dir = tempfile.mkdtemp()
        port = random.SystemRandom().randint(20000, 50000)
        client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
        self.url = client
        self.ctl = os.path.join(os.path.dirname(binary), "etcdctl")
        self.process = subprocess.Popen(
            [binary, "--data-dir", self.dir, "--listen-client-urls", client,
             "--advertise-client-urls", client, "--listen-peer-urls", peer,
             "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
             "--unsafe-no-fsync"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.time() + 20
        while True:
            try:
                self.call("kv/range", {"key": encode("x")})
                return
            except OSError:
                if time.time() > deadline:
                    raise
                time.sleep(0.1)

    def call(self, path, body):
        request = urllib.request.Request(f"{self.url}/v3/{path}", json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            message = json.load(error)["message"]
            raise Refused(message.removeprefix("etcdserver: ").removeprefix("mvcc: "))

    def hash(self, revision):
        done = subprocess.run(
            [self.ctl, "--endpoints", self.url, "endpoint", "hashkv", "-w", "json", f"--rev={revision}"],
            capture_output=True, text=True)
        if done.returncode != 0 or not json.loads(done.stdout):
            raise Refused("required revision " + ("has been compacted" if "compacted" in done.stderr else "is a future revision"))
        reply = json.loads(done.stdout)[0]["HashKV"]
        return f"hash={reply['hash']} compacted={reply.get('compact_revision', 0)}"

    def changes(self, start):
        last = int(self.call("kv/range", {"key": encode("x")})["header"]["revision"])
        if int(start) > last:
            return "ok"
        create = {"key": encode("\0"), "range_end": encode("\0"), "start_revision": start, "prev_kv": True}
        request = urllib.request.Request(f"{self.url}/v3/watch", json.dumps({"create_request": create}).encode())
        out = []
        with urllib.request.urlopen(request, timeout=10) as reply:
            for line in reply:
                result = json.loads(line)["result"]
                if int(result.get("compact_revision", 0)):
                    return f"compacted at {result['compact_revision']}"
                for event in result.get("events", []):
                    kv = event["kv"]
                    if event.get("type") == "DELETE":
                        out.append(f"delete {text(kv['key'])} mod={kv['mod_revision']}")
                    else:
                        out.append("put " + show(kv))
                    if "prev_kv" in event:
                        out.append("  prev " + show(event["prev_kv"]))
                    if int(kv["mod_revision"]) == last and event is result["events"][-1]:
                        return "\n".join(out)

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Refused(Exception):
    pass


def encode(word):
    return base64.b64encode(word.replace("\\0", "\0").encode()).decode()


def text(encoded):
    raw = base64.b64decode(encoded)
    named = {9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 39: "\\'", 92: "\\\\"}
    return "".join(named.get(b) or (chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in raw)


def show(kv):
    out = f"{text(kv['key'])}=\"{text(kv.get('value', ''))}\" create={kv['create_revision']} mod={kv['mod_revision']} version={kv['version']}"
    return out + (f" lease={kv['lease']}" if "lease" in kv else "")


def split(line):
    words, options = [], {}
    for token in shlex.split(line.replace("\\", "\\\\")):
        key, equals, value = token.partition("=")
        if equals:
            options[key] = value
        else:
            words.append(token)
    return words[0], words[1:], options


def with_end(request, options):
    if options.get("end"):
        request["range_end"] = encode(options["end"])
    return request


def parse_put(words, options):
    flags = words[1:]
    return {"key": encode(words[0]), "value": encode(options.get("value", "")),
            "lease": options.get("lease", "0"), "prev_kv": "prev" in flags,
            "ignore_value": "ignore-value" in flags, "ignore_lease": "ignore-lease" in flags}


def parse_delete(words, options):
    return with_end({"key": encode(words[0]), "prev_kv": "prev" in words[1:]}, options)


def parse_range(words, options):
    flags = words[1:]
    return with_end({
        "key": encode(words[0]), "limit": options.get("limit", "0"), "revision": options.get("rev", "0"),
        "sort_order": options.get("order", "none").upper(), "sort_target": options.get("sort", "key").upper(),
        "serializable": "serializable" in flags, "keys_only": "keys-only" in flags,
        "count_only": "count-only" in flags, "min_mod_revision": options.get("min-mod", "0"),
        "max_mod_revision": options.get("max-mod", "0"), "min_create_revision": options.get("min-create", "0"),
        "max_create_revision": options.get("max-create", "0")}, options)


def parse_compare(line):
    target, words, options = split(line)
    key, op, operand = words
    field = {"version": "version", "create": "create_revision", "mod": "mod_revision",
             "lease": "lease", "value": "value"}[target]
    return with_end({
        "key": encode(key), "target": target.upper(),
        "result": {"is": "EQUAL", "not": "NOT_EQUAL", "above": "GREATER", "below": "LESS"}[op],
        field: encode(operand) if target == "value" else operand}, options)


def parse_txn(lines, depth=0):
    txn = {"compare": [], "success": [], "failure": []}
    while lines and lines[0].startswith("  " * depth):
        kind, _, rest = lines.pop(0)[2 * depth:].partition(" ")
        if kind == "if":
            txn["compare"].append(parse_compare(rest))
            continue
        name, words, options = split(rest)
        op = {"get": lambda: {"request_range": parse_range(words, options)},
              "put": lambda: {"request_put": parse_put(words, options)},
              "del": lambda: {"request_delete_range": parse_delete(words, options)},
              "txn": lambda: {"request_txn": parse_txn(lines, depth + 1)}}[name]()
        txn[{"then": "success", "else": "failure"}[kind]].append(op)
    return txn


def revision(reply):
    return "revision=" + (reply.get("header") or {}).get("revision", "0")


def print_prev(kvs, indent):
    return "".join(f"\n{indent}  prev {show(kv)}" for kv in kvs)


def print_put(reply, indent=""):
    return revision(reply) + print_prev([reply["prev_kv"]] if "prev_kv" in reply else [], indent)


def print_delete(reply, indent=""):
    return f"{revision(reply)} deleted={reply.get('deleted', 0)}" + print_prev(reply.get("prev_kvs", []), indent)


def print_range(reply, indent=""):
    more = " more" if reply.get("more") else ""
    kvs = "".join(f"\n{indent}  {show(kv)}" for kv in reply.get("kvs", []))
    return f"{revision(reply)} count={reply.get('count', 0)}{more}{kvs}"


def print_txn(reply, indent=""):
    out = revision(reply) + (" succeeded" if reply.get("succeeded") else " failed")
    inner = indent + "  "
    for response in reply.get("responses", []):
        (kind, nested), = response.items()
        name, printer = {"response_range": ("get", print_range), "response_put": ("put", print_put),
                         "response_delete_range": ("del", print_delete), "response_txn": ("txn", print_txn)}[kind]
        out += f"\n{inner}{name} {printer(nested or {}, inner)}"
    return out


def run(etcd, line, body):
    name, words, options = split(line)
    if name == "put":
        return print_put(etcd.call("kv/put", parse_put(words, options)))
    if name == "del":
        return print_delete(etcd.call("kv/deleterange", parse_delete(words, options)))
    if name == "get":
        return print_range(etcd.call("kv/range", parse_range(words, options)))
    if name == "txn":
        return print_txn(etcd.call("kv/txn", parse_txn(body)))
    if name == "compact":
        return revision(etcd.call("kv/compaction", {"revision": words[0], "physical": True}))
    if name == "grant":
        reply = etcd.call("lease/grant", {"ID": words[0], "TTL": words[1]})
        return f"{revision(reply)} id={reply['ID']} ttl={reply['TTL']}"
    if name == "revoke":
        return revision(etcd.call("lease/revoke", {"ID": words[0]}))
    if name == "lease":
        reply = etcd.call("lease/timetolive", {"ID": words[0], "keys": True})
        keys = ",".join(sorted(text(key) for key in reply.get("keys", [])))
        return f"granted={reply.get('grantedTTL', 0)} keys={keys}"
    if name == "hash":
        return etcd.hash(words[0] if words else 0)
    if name == "changes":
        return etcd.changes(words[0])
    raise SystemExit(f"{line}?")


def record(binary, text_before):
    etcd = Etcd(binary)
    out, lines = [], text_before.split("\n")
    try:
        while lines:
            line = lines.pop(0)
            out.append(line)
            if not line or line.startswith("#"):
                continue
            body = []
            while (following := lines.pop(0)) != "----":
                body.append(following)
            out += body + ["----"]
            while lines and lines[0]:
                lines.pop(0)
            try:
                out.append(run(etcd, line, body))
            except Refused as refused:
                out.append(f"error: {refused}")
    finally:
        etcd.stop()
    return "\n".join(out)


class Random:
    def __init__(self, seed, count):
        self.r, self.count, self.at = random.Random(seed), count, 1

    def key(self):
        return self.r.choice(["a", "b", "c", "ca", "d", "e"])

    def end(self):
        return self.r.choice(["", "", f" end={self.key()}", f" end={self.key()}", " end=\\0"])

    def flag(self, word, odds=0.2):
        return f" {word}" if self.r.random() < odds else ""

    def option(self, name, values, odds=0.2):
        return f" {name}={self.r.choice(values)}" if self.r.random() < odds else ""

    def rev(self, low=1):
        return self.r.randint(low, self.at + 1)

    def put(self):
        ignores = self.flag("ignore-value", 0.1)
        value = "" if ignores else f" value={self.r.choice(['1', '2', '3', 'long' * 40])}"
        lease = f" lease={self.r.choice([1, 2, -3])}" if self.r.random() < 0.2 else ""
        return f"put {self.key()}{value}{lease}{self.flag('prev')}{ignores}" + ("" if lease else self.flag("ignore-lease", 0.1))

    def delete(self):
        return f"del {self.key()}{self.end()}{self.flag('prev', 0.5)}"

    def get(self):
        revs = [self.rev(-2), self.rev(), self.at]
        return (f"get {self.key()}{self.end()}" + self.option("limit", [1, 2, 3, -1], 0.3) + self.option("rev", revs, 0.4)
                + self.option("sort", ["version", "create", "mod", "value"], 0.3)
                + self.option("order", ["ascend", "descend"], 0.3) + self.flag("keys-only") + self.flag("count-only", 0.1)
                + self.option("min-mod", [self.rev()], 0.1) + self.option("max-mod", [self.rev()], 0.1)
                + self.option("min-create", [self.rev()], 0.1) + self.option("max-create", [self.rev()], 0.1))

    def compare(self):
        target, operand = self.r.choice([("version", self.r.randint(0, 3)), ("create", self.rev(0)), ("mod", self.rev(0)),
                                         ("lease", self.r.choice([0, 1])), ("value", self.r.choice([1, 2, 3]))])
        op = self.r.choice(["is", "not", "above", "below"])
        return f"if {target} {self.key()} {op} {operand}{self.end()}"

    def txn(self, depth=0):
        lines = [self.compare() for _ in range(self.r.randint(0, 2))]
        for branch in ["then", "else"]:
            for _ in range(self.r.randint(0, 3)):
                make = self.r.choice([self.put, self.put, self.delete, self.get, self.txn if depth < 2 else self.get])
                if make == self.txn:
                    lines += [f"{branch} txn"] + self.txn(depth + 1)
                else:
                    lines.append(f"{branch} {make()}")
        return ["  " * min(depth, 1) + line for line in lines]

    def commands(self):
        for number in range(self.count):
            kind = self.r.choices(["put", "delete", "get", "txn", "compact", "grant", "revoke", "lease", "hash", "changes", "wipe"],
                                  [20, 6, 14, 16, 2, 3, 1.5, 3, 4, 2, 1])[0]
            # About where the store's revision is.
            self.at = 2 + number * 2 // 5
            if kind == "txn":
                yield "\n".join(["txn"] + self.txn())
            elif kind == "compact":
                yield f"compact {self.r.randint(self.at // 2, self.at)}"
                yield "hash"
            elif kind == "grant":
                yield f"grant {self.r.choice([1, 2, -3])} {self.r.randint(100, 200)}"
            elif kind in ("revoke", "lease"):
                yield f"{kind} {self.r.choice([1, 2, -3])}"
            elif kind == "wipe":
                yield "del \\0 end=\\0"
                yield "hash"
            elif kind == "hash":
                yield "hash" + self.r.choice(["", "", f" {self.rev()}"])
            elif kind == "changes":
                yield f"changes {self.rev()}"
            else:
                yield {"put": self.put, "delete": self.delete, "get": self.get}[kind]()


def main():
    binary, rest = sys.argv[1], sys.argv[2:]
    if rest and rest[0] == "--random":
        seed, count = rest[1:]
        print(f"# Random commands, seed {seed}, as etcd answered them.\n")
        commands = "\n\n".join(f"{command}\n----" for command in Random(seed, int(count)).commands())
        print(record(binary, commands))
        return
    for path in rest:
        with open(path) as file:
            before = file.read()
        after = record(binary, before)
        with open(path, "w") as file:
            file.write(after)


main()
