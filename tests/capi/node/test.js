// The example in addon.c, in use: in the main thread and in workers, which load it again.
//
//   node test.js ADDON
'use strict';

const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const { isMainThread, parentPort, Worker, workerData } = require('node:worker_threads');

const path = isMainThread ? process.argv[2] : workerData;
const snaprng = require(path);

function draw(count) {
  return Array.from({ length: count }, () => {
    const block = new Uint8Array(16);
    snaprng.fill(block);
    return Buffer.from(block).toString('hex');
  });
}

async function main() {
  snaprng.fill(new Uint8Array(0));
  assert.throws(() => snaprng.fill(), /unacceptable argument/);
  assert.throws(() => snaprng.fill(new Uint16Array(1)), /unacceptable argument/);
  const large = Buffer.alloc(1 << 20);
  snaprng.fill(large);
  // Each byte value comes 4096 times; a standard deviation is 64.
  const counts = new Uint32Array(256);
  for (const byte of large) counts[byte]++;
  assert(counts.every((count) => count > 3400 && count < 4800));

  const workers = Array.from({ length: 4 }, () => new Worker(__filename, { workerData: path }));
  const drawn = await Promise.all(workers.map((worker) => new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  })));
  await Promise.all(workers.map((worker) => worker.terminate()));
  // The workers' threads have ended; the addon is still there.
  const blocks = [...drawn.flat(), ...draw(1000)];
  assert.strictEqual(blocks.length, 5000);
  assert.strictEqual(new Set(blocks).size, 5000);

  const token = snaprng.generation();
  assert.strictEqual(snaprng.isCurrent(token), true);
  snaprng.notifyRestored(Buffer.from('unique'));
  assert.strictEqual(snaprng.isCurrent(token), false);

  const child = spawnSync(process.execPath, ['-e', `require(${JSON.stringify(path)}).fill(new Uint8Array(1))`], {
    env: { ...process.env, SNAPRNG_POLICY: 'nonsense' },
    encoding: 'utf8',
  });
  assert.notStrictEqual(child.status, 0);
  assert.match(child.stderr, /must be prefer or require/);
  console.log(`  ${blocks.length} blocks of five threads all differ`);
}

if (isMainThread) {
  main();
} else {
  parentPort.postMessage(draw(1000));
}
