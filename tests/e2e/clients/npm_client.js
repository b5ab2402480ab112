// Drives the npm client over watch, lease, lock and election, and prints what it saw: one line a
// fact, nothing that differs from run to run. At each line "DISTURB" it waits for a line of input:
// the test may kill the leader there.
//
// usage: node npm_client.js HOST:PORT[,HOST:PORT...], with the packages in NODE_PATH
'use strict';
const readline = require('readline');
const { Etcd3 } = require('etcd3');

const input = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (...parts) => console.log(parts.join(' '));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function disturb() {
  say('DISTURB');
  await input.next();
}

// Until `condition` holds.
async function until(what, condition, ms = 20000) {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await sleep(20);
  }
}

// A call that may meet the moment between two leaders.
async function again(call) {
  for (let turn = 0; ; turn++) {
    try {
      return await call();
    } catch (error) {
      if (turn === 40) throw error;
      await sleep(250);
    }
  }
}

function record(watcher, seen) {
  const note = (kind) => (pair, previous) =>
    seen.push(
      `${kind} ${pair.key} ${pair.value} version ${pair.version} at ${pair.mod_revision}` +
        (previous ? ` before ${previous.value}` : '')
    );
  return watcher.on('put', note('put')).on('delete', note('delete'));
}

async function watches(client) {
  const seen = { key: [], prefix: [], puts: [], history: [] };
  await client.put('w/a').value('0');
  const key = record(await client.watch().key('w/a').withPreviousKV().create(), seen.key);
  const prefix = record(await client.watch().prefix('w/').create(), seen.prefix);
  const puts = record(await client.watch().prefix('w/').only('put').create(), seen.puts);
  for (const value of ['1', '2', '3']) await client.put('w/a').value(value);
  await client.put('w/b').value('x');
  await client.delete().key('w/a');
  await until('five events', () => seen.prefix.length === 5);
  await disturb();
  await again(() => client.get('w/b'));
  await client.put('w/a').value('after');
  await client.delete().prefix('w/');
  await until('eight events', () => seen.prefix.length === 8);
  const history = record(
    await client.watch().prefix('w/').startRevision('2').create(),
    seen.history
  );
  await until('the whole history', () => seen.history.length === 9);
  await prefix.cancel();
  await client.put('w/c').value('last');
  await until('one more', () => seen.puts.length === 6 && seen.history.length === 10);
  await Promise.all([key.cancel(), puts.cancel(), history.cancel()]);
  for (const [name, events] of Object.entries(seen)) {
    for (const event of events) say('watch', name, event);
  }
}

async function leases(client) {
  const lease = client.lease(6);
  let lost = false;
  let kept = 0;
  lease.on('lost', () => (lost = true));
  lease.on('keepaliveSucceeded', () => kept++);
  await lease.put('l/a').value('leased');
  await until('kept alive', () => kept >= 2);
  await disturb();
  const before = kept;
  await until('kept alive afterwards', () => kept >= before + 3);
  say('lease kept', await again(() => client.get('l/a')), 'lost', lost);
  const renewed = await lease.keepaliveOnce();
  say('lease renewed to', renewed.TTL);
  await lease.revoke();
  say('lease revoked', await client.get('l/a'));

  const short = client.lease(2, { autoKeepAlive: false });
  await short.put('l/b').value('short');
  say('lease short', await client.get('l/b'));
  await until('it expires', async () => (await client.get('l/b')) === null);
  let told = 'renewed';
  short.on('lost', () => (told = 'lost'));
  await short.keepaliveOnce().catch((error) => (told = error.constructor.name));
  say('lease expired', told);
}

async function locks(client) {
  const first = client.lock('lock').ttl(5);
  await first.acquire();
  say('lock acquired');
  const refused = await client
    .lock('lock')
    .acquire()
    .then(() => 'acquired twice', (error) => error.constructor.name);
  say('lock refused', refused);
  await disturb();
  await sleep(6000);  // longer than its time: it is kept alive
  const still = await again(() =>
    client.lock('lock').acquire().then(
      () => 'acquired twice',
      (error) => {
        if (error.constructor.name !== 'EtcdLockFailedError') throw error;
        return error.constructor.name;
      }
    )
  );
  say('lock kept', still);
  await first.release();
  const done = await client.lock('lock').do(async () => 'done under the lock');
  say('lock', done);
  say('lock keys', await client.getAll().prefix('lock').count());
}

async function elections(client) {
  const one = client.election('seat', 5);
  const two = client.election('seat', 5);
  const events = [];
  const first = one.campaign('one');
  first.on('error', (error) => events.push(`error ${error.message}`));
  await first.wait();
  say('election leader', await one.leader());
  const observer = await two.observe();
  observer.on('change', (value) => events.push(`observed ${value}`));
  const second = two.campaign('two');
  let elected = false;
  second.on('elected', () => (elected = true));
  second.on('error', (error) => events.push(`error ${error.message}`));
  await sleep(500);
  say('election second waits', !elected);
  await disturb();
  await again(() => first.proclaim('uno'));
  await until('observed', () => events.includes('observed uno'));
  say('election second still waits', !elected);
  await again(() => first.resign());
  await until('elected', () => elected);
  await until('observed the second', () => events.includes('observed two'));
  say('election leader', await again(() => two.leader()));
  await observer.cancel();
  await second.resign();
  say('election leader', await two.leader());
  for (const event of events) say('election', event);
}

async function main() {
  const client = new Etcd3({ hosts: process.argv[2].split(',') });
  for (const part of [watches, leases, locks, elections]) await part(client);
  client.close();
  say('END');
  process.exit(0);
}

main().catch((error) => {
  say('FAILED', error.stack);
  process.exit(1);
});
