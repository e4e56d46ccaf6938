// SPDX-License-Identifier: Apache-2.0
//
// The npm mqtt client in a browser, as a web page uses it: `node browser.mjs BROWSER URL VERSION…`.
// Starts that Chromium without a window, gives it a page from a server of its own on localhost, and
// has the page connect to URL, subscribe, publish at each quality of service, and hear it all. What
// the certificate is signed by does not matter to it. Ends with 0 if all was as it should be.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { chromium } from 'playwright-core';

const TIMEOUT_MS = Number(process.env.TIMEOUT_MS ?? 10000);
const [browserPath, url, ...versions] = process.argv.slice(2);
const bundle = await readFile(new URL('./node_modules/mqtt/dist/mqtt.min.js', import.meta.url));
const page = '<!doctype html><title>Dunlin</title><script src="/mqtt.min.js"></script>';

// In the page.
async function converse({ address, protocolVersion, topic, big }) {
  const protocolId = protocolVersion === 3 ? 'MQIsdp' : 'MQTT';
  const client = mqtt.connect(address, { protocolVersion, protocolId, reconnectPeriod: 0 });
  const got = [];
  let finished;
  const all = new Promise((resolve) => { finished = resolve; });
  client.on('message', (name, payload, packet) => {
    got.push([name, payload.length > 100 ? payload.length : payload.toString(), packet.qos]);
    if (got.length === 4) finished();
  });
  await new Promise((resolve, reject) => {
    client.once('connect', resolve);
    client.once('error', reject);
    client.once('close', () => reject(new Error('closed before it was connected')));
  });
  await client.subscribeAsync(topic, { qos: 2 });
  for (const qos of [0, 1, 2]) await client.publishAsync(topic, `hello ${qos}`, { qos });
  await client.publishAsync(topic, 'x'.repeat(big), { qos: 1 });
  await all;
  await client.endAsync();
  return got;
}

setTimeout(() => {
  console.error(`${url} took more than ${TIMEOUT_MS} ms`);
  process.exit(2);
}, TIMEOUT_MS);

const server = createServer((request, response) => {
  const isScript = request.url === '/mqtt.min.js';
  response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html');
  response.end(isScript ? bundle : page);
}).listen(Number(process.env.PAGE_PORT ?? 0), '127.0.0.1');
await once(server, 'listening');

// Without the switches for the network it looks for hosts on the Internet at every start.
const browser = await chromium.launch({
  executablePath: browserPath,
  args: ['--no-sandbox', '--disable-gpu', '--ignore-certificate-errors', '--no-first-run', '--disable-quic',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const tab = await browser.newPage();
tab.on('pageerror', (error) => console.error(error));
tab.on('console', (message) => console.error(message.text()));
await tab.goto(`http://localhost:${server.address().port}/`);
for (const version of versions.map(Number)) {
  const topic = `browser/${url.split(':')[0]}/${version}`;
  const big = 200000;
  const got = await tab.evaluate(converse, { address: url, protocolVersion: version, topic, big });
  assert.deepEqual(got, [
    [topic, 'hello 0', 0], [topic, 'hello 1', 1], [topic, 'hello 2', 2], [topic, big, 1]]);
}
await browser.close();
process.exit(0);
