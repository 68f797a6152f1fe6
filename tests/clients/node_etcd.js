// What npm's node-etcd offers, against the endpoints of the command line: every call once at least.

const assert = require('assert');
const Etcd = require('node-etcd');

const WAIT_MAX = 60000; // milliseconds

const hosts = process.argv[2].split(',').map((endpoint) => `http://${endpoint}`);
const all = new Etcd(hosts);
// Who is asked: a member of chance each time, or one.
let etcd = all;

// A call with a callback, as a promise of [error, value, headers].
const call = (name, ...args) =>
  new Promise((resolve) => etcd[name](...args, (error, value, headers) => resolve([error, value, headers])));

const ok = async (name, ...args) => {
  const [error, value, headers] = await call(name, ...args);
  assert.strictEqual(error, null, `${name} ${args}: ${error}`);
  return [value, headers];
};

const fails = async (code, name, ...args) => {
  const [error] = await call(name, ...args);
  assert(error, `${name} ${args} did not fail`);
  assert.strictEqual(error.errorCode, code, `${name} ${args}: ${error}`);
};

const next = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve));

async function keys() {
  await ok('set', 'k', 'v');
  assert.strictEqual((await ok('get', 'k', { quorum: true }))[0].node.value, 'v');
  const [changed, headers] = await ok('set', '/k', 'w', { prevValue: 'v', ttl: 500 });
  assert.strictEqual(changed.action, 'compareAndSwap');
  assert.strictEqual(changed.node.ttl, 500);
  assert(Number(headers['x-etcd-index']) >= changed.node.modifiedIndex);
  await fails(105, 'set', 'k', 'x', { prevExist: false });
  await fails(101, 'set', 'k', 'x', { prevIndex: 1 });
  await fails(100, 'get', 'nothing');
  await ok('compareAndSwap', 'k', 'x', 'w');
  await fails(101, 'testAndSet', 'k', 'y', 'w');
  await fails(101, 'compareAndDelete', 'k', 'w');
  assert.strictEqual((await ok('testAndDelete', 'k', 'x'))[0].action, 'compareAndDelete');
  await fails(100, 'del', 'k');
  await ok('set', 'k2', 'ü & <');
  assert.strictEqual((await ok('delete', 'k2'))[0].prevNode.value, 'ü & <');
}

async function directories() {
  await ok('mkdir', 'dir');
  await fails(102, 'mkdir', 'dir');
  await ok('set', 'dir/a', '1');
  await fails(108, 'rmdir', 'dir');
  const first = (await ok('create', 'dir/queue', 'first'))[0];
  const second = (await ok('post', 'dir/queue', 'second'))[0];
  assert(first.node.key < second.node.key);
  const queue = (await ok('get', 'dir/queue', { recursive: true, sorted: true, quorum: true }))[0];
  assert.deepStrictEqual(queue.node.nodes.map((node) => node.value), ['first', 'second']);
  assert.strictEqual((await ok('rmdir', 'dir', { recursive: true }))[0].action, 'delete');
  await ok('set', 'made/', null);
  assert.strictEqual((await ok('get', 'made', { quorum: true }))[0].node.dir, undefined);
  await ok('set', 'made', null, { prevExist: true });
  await ok('del', 'made/');
}

async function watches() {
  const watched = call('watch', 'w');
  // The wait is registered some time after its call: what comes before is not its own.
  const writes = setInterval(() => etcd.set('w', 'a'), 50);
  const [error, event] = await watched;
  clearInterval(writes);
  assert.strictEqual(error, null);
  assert.strictEqual(event.node.value, 'a');
  const index = (await ok('set', 'w', 'b'))[0].node.modifiedIndex;
  assert.strictEqual((await ok('watchIndex', 'w', index))[0].node.modifiedIndex, index);

  const watcher = etcd.watcher('w2', (await ok('set', 'w2', '1'))[0].node.modifiedIndex);
  assert.strictEqual((await next(watcher, 'change')).node.value, '1');
  const set = next(watcher, 'set');
  await ok('set', 'w2', '2');
  assert.strictEqual((await set).node.value, '2');
  const deleted = next(watcher, 'delete');
  await ok('del', 'w2');
  assert.strictEqual((await deleted).action, 'delete');
  const stopped = next(watcher, 'stop');
  watcher.stop();
  await stopped;

  const given = etcd.watch('never', () => {});
  given.cancel();

  // A member that has applied its own writes has forgotten what lies a thousand events back.
  etcd = new Etcd(hosts[0]);
  const old = (await ok('set', 'w3', 'old'))[0].node.modifiedIndex;
  for (let i = 0; i < 1010; i += 101) {
    await Promise.all(Array.from({ length: 101 }, (_, at) => ok('set', `many/${at}`, 'x')));
  }
  await fails(401, 'watchIndex', 'w3', old - 1);
  const late = etcd.watcher('w3', old - 1);
  assert.strictEqual((await next(late, 'resync')).errorCode, 401);
  late.stop();
  etcd = all;
}

async function raw() {
  const put = await ok('raw', 'PUT', 'v2/keys/raw', 'value', {});
  assert.strictEqual(put[0].node.value, 'value');
  assert.strictEqual((await ok('raw', 'GET', 'v2/keys/raw', null, { quorum: true }))[0].node.value, 'value');
  assert((await ok('raw', 'GET', 'health', null, {}))[0].health);
  assert.strictEqual((await ok('raw', 'GET', 'v2/members', null, {}))[0].members.length, hosts.length);
}

async function pages() {
  assert.deepStrictEqual(etcd.getHosts(), hosts);
  assert(/^3\./.test((await ok('version'))[0].etcdserver));
  // A new leader may be elected meanwhile.
  let leaders;
  do {
    leaders = [];
    for (const host of hosts) {
      const one = new Etcd(host);
      const own = await new Promise((resolve) => one.selfStats((_, value) => resolve(value)));
      assert(/^State(Leader|Follower)$/.test(own.state));
      const [error, stats] = await new Promise((resolve) => one.leaderStats((...it) => resolve(it)));
      assert.strictEqual(error, null);
      if (stats.message) {
        assert.strictEqual(stats.message, 'not current leader');
      } else {
        assert.strictEqual(stats.leader, own.id);
        assert.strictEqual(Object.keys(stats.followers).length, hosts.length - 1);
        leaders.push(own.id);
      }
    }
  } while (leaders.length !== 1);
  // etcd 3.4 has neither any more.
  await fails(100, 'machines');
  assert.strictEqual((await call('leader'))[1], '404 page not found\n');
}

async function synchronous() {
  assert.strictEqual(etcd.setSync('s', '1').body.node.value, '1');
  assert.strictEqual(etcd.getSync('s', { quorum: true }).body.node.value, '1');
  assert.strictEqual(etcd.delSync('s').err, null);
  assert.strictEqual(etcd.getSync('s', { quorum: true }).err.errorCode, 100);
  assert.strictEqual(etcd.mkdirSync('sd').err, null);
  assert.strictEqual(etcd.rmdirSync('sd').err, null);
}

async function main() {
  for (const check of [keys, directories, watches, raw, pages, synchronous]) {
    await check();
    console.log(check.name, 'ok');
  }
}

setTimeout(() => { console.log('not done in time'); process.exit(1); }, WAIT_MAX).unref();
main().then(() => process.exit(0), (error) => { console.log(error); process.exit(1); });
