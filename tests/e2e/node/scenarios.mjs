// SPDX-License-Identifier: Apache-2.0
//
// What users of the npm mqtt client do, one scenario a run: `node scenarios.mjs NAME URL VERSION…`.
// VERSION is 3 (MQIsdp), 4 or 5; the variable CA names the file of the authority of a TLS server. Ends
// with 0 if all was as it should be.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import mqtt from 'mqtt';

const TIMEOUT_MS = Number(process.env.TIMEOUT_MS ?? 10000);
const [name, url, ...versions] = process.argv.slice(2);
const version = Number(versions[0]);
const tls = process.env.CA ? { ca: readFileSync(process.env.CA) } : {};
const opened = [];

// A client that has been accepted; client.message() waits for the next message.
async function user(options = {}, protocolVersion = version) {
  const client = mqtt.connect(url, {
    ...tls, protocolVersion, reconnectPeriod: 0, keepalive: 30,
    protocolId: protocolVersion === 3 ? 'MQIsdp' : 'MQTT', ...options,
  });
  opened.push(client);
  const arrived = [];
  const waiting = [];
  client.on('message', (topic, payload, packet) => {
    const message = { topic, payload: payload.toString(), packet };
    const taker = waiting.shift();
    if (taker) taker(message);
    else arrived.push(message);
  });
  client.message = () => (arrived.length ? Promise.resolve(arrived.shift())
    : new Promise((resolve) => waiting.push(resolve)));
  const [connack] = await once(client, 'connect');
  client.sessionPresent = connack.sessionPresent;
  return client;
}

// Options of a session that outlives its connection.
function kept(clientId, protocolVersion = version) {
  return { clientId, clean: false,
    ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 300 } } : {}) };
}

const scenarios = {
  async publish_reaches(topic = `node/${versions.join('-')}`) {
    const subscriber = await user({}, Number(versions[1]));
    const publisher = await user({}, Number(versions[0]));
    for (const qos of [0, 1, 2]) {
      await subscriber.subscribeAsync(`${topic}/${qos}`, { qos });
      await publisher.publishAsync(`${topic}/${qos}`, 'hello', { qos });
      const m = await subscriber.message();
      assert.deepEqual([m.topic, m.payload, m.packet.qos, m.packet.retain],
        [`${topic}/${qos}`, 'hello', qos, false]);
    }
  },

  async retained_is_replayed_and_cleared(topic = `node/retained/${version}`) {
    const publisher = await user();
    await publisher.publishAsync(topic, 'kept', { qos: 1, retain: true });
    const subscriber = await user();
    await subscriber.subscribeAsync(topic, { qos: 1 });
    const m = await subscriber.message();
    assert.deepEqual([m.payload, m.packet.retain], ['kept', true]);

    await publisher.publishAsync(topic, '', { qos: 1, retain: true });
    const late = await user();
    await late.subscribeAsync(topic, { qos: 1 });
    await publisher.publishAsync(topic, 'live', { qos: 1 });
    assert.equal((await late.message()).payload, 'live');
  },

  async vanished_client_leaves_its_will(topic = `node/will/${version}`) {
    const subscriber = await user();
    await subscriber.subscribeAsync(topic, { qos: 2 });
    const dying = await user({ will: { topic, payload: Buffer.from('gone'), qos: 2 } });
    dying.stream.destroy();
    const m = await subscriber.message();
    assert.deepEqual([m.payload, m.packet.qos], ['gone', 2]);
  },

  async share_gives_each_message_to_one_member(topic = `node/share/${version}`) {
    const got = [[], []];
    let count = 0;
    let finished;
    const all = new Promise((resolve) => { finished = resolve; });
    for (const mine of got) {
      const member = await user();
      member.on('message', (_, payload) => {
        mine.push(Number(payload));
        if (++count === 40) finished();
      });
      await member.subscribeAsync(`$share/g/${topic}`, { qos: 1 });
    }
    const publisher = await user();
    for (let i = 0; i < 40; i++) await publisher.publishAsync(topic, `${i}`, { qos: 1 });
    await all;
    assert.deepEqual(got.flat().sort((a, b) => a - b), [...Array(40).keys()]);
    for (const mine of got) {
      assert.ok(mine.length > 0, 'one member got nothing');
      assert.deepEqual(mine, [...mine].sort((a, b) => a - b));
    }
  },

  async session_resumes_with_what_was_queued(topic = `node/queued/${version}`) {
    const first = await user(kept(`node-queued-${url.split(":")[0]}-${version}`));
    assert.equal(first.sessionPresent, false);
    await first.subscribeAsync(topic, { qos: 2 });
    await first.endAsync();
    const publisher = await user();
    for (let i = 0; i < 20; i++) await publisher.publishAsync(topic, `${i}`, { qos: 1 + (i % 2) });
    const again = await user(kept(`node-queued-${url.split(":")[0]}-${version}`));
    assert.equal(again.sessionPresent, true);
    const got = [];
    while (got.length < 20) got.push(Number((await again.message()).payload));
    for (const rest of [0, 1]) {
      const one = got.filter((i) => i % 2 === rest);
      assert.deepEqual(one, [...Array(10).keys()].map((i) => 2 * i + rest));
    }
  },

  async properties_pass_unaltered(topic = 'node/props') {
    const subscriber = await user();
    await subscriber.subscribeAsync(topic, { qos: 1 });
    const properties = {
      // An object cannot show the order among names, but each name's array its own.
      userProperties: { k: ['3', '1', '2'], a: 'b' }, contentType: 'application/json',
      responseTopic: 'node/answers', correlationData: Buffer.from([0, 255, 1]),
      payloadFormatIndicator: true,
    };
    await (await user()).publishAsync(topic, '{}', { qos: 1, properties });
    const got = (await subscriber.message()).packet.properties;
    assert.deepEqual({ ...got.userProperties }, properties.userProperties);
    assert.equal(got.contentType, properties.contentType);
    assert.equal(got.responseTopic, properties.responseTopic);
    assert.deepEqual([...got.correlationData], [0, 255, 1]);
    assert.equal(got.payloadFormatIndicator, true);
  },

  async subscription_identifiers(topic = 'node/ids/x') {
    const subscriber = await user();
    await subscriber.subscribeAsync('node/ids/+', { qos: 1, properties: { subscriptionIdentifier: 5 } });
    await subscriber.subscribeAsync(topic, { qos: 1, properties: { subscriptionIdentifier: 300000 } });
    await (await user()).publishAsync(topic, '', { qos: 1 });
    const ids = [(await subscriber.message()).packet.properties.subscriptionIdentifier].flat();
    if (ids.length === 1) ids.push((await subscriber.message()).packet.properties.subscriptionIdentifier);
    assert.deepEqual(ids.sort((a, b) => a - b), [5, 300000]);
  },

  async message_expiry_counts_down(topic = 'node/expiry') {
    const first = await user(kept('node-expiry'));
    await first.subscribeAsync(topic, { qos: 1 });
    await first.endAsync();
    const publisher = await user();
    const expiring = (s) => ({ qos: 1, properties: { messageExpiryInterval: s } });
    await publisher.publishAsync(topic, 'short', expiring(1));
    await publisher.publishAsync(topic, 'long', expiring(100));
    await new Promise((resolve) => { setTimeout(resolve, 2100); }); // what the standard counts in seconds
    const m = await (await user(kept('node-expiry'))).message();
    assert.equal(m.payload, 'long');
    assert.ok([97, 98].includes(m.packet.properties.messageExpiryInterval), JSON.stringify(m.packet.properties));
  },

  // TOKEN lets it in for as long as it lasts, when the broker has asked for it; RENEWAL, longer.
  async token_is_renewed(topic = 'node/token') {
    const auth = (reasonCode, token) => ({ cmd: 'auth', reasonCode,
      properties: { authenticationMethod: 'JWT', authenticationData: Buffer.from(token) } });
    const heard = [];
    const client = mqtt.connect(url, { protocolVersion: 5, reconnectPeriod: 0,
      properties: { authenticationMethod: 'JWT' } });
    opened.push(client);
    client.handleAuth = (packet, answer) => {
      heard.push(packet.reasonCode);
      client.emit('heard');
      answer(null, packet.reasonCode === 0x18 ? auth(0x18, process.env.TOKEN) : undefined);
    };
    await once(client, 'connect');
    const finished = once(client, 'heard');
    client._sendPacket(auth(0x19, process.env.RENEWAL));
    await finished;
    assert.deepEqual(heard, [0x18, 0]);
    await client.subscribeAsync(topic, { qos: 1 });
    const message = once(client, 'message');
    await client.publishAsync(topic, 'x', { qos: 1 });
    assert.equal((await message)[1].toString(), 'x');
  },

  async topic_aliases(topic = 'node/alias/a/rather/long/topic/name') {
    const subscriber = await user({ properties: { topicAliasMaximum: 10 } });
    await subscriber.subscribeAsync(topic, { qos: 1 });
    const publisher = await user({ autoUseTopicAlias: true, autoAssignTopicAlias: true });
    for (let i = 0; i < 5; i++) await publisher.publishAsync(topic, `${i}`, { qos: 1 });
    for (let i = 0; i < 5; i++) {
      const m = await subscriber.message();
      assert.deepEqual([m.topic, m.payload], [topic, `${i}`]);
    }
  },
};

setTimeout(() => {
  console.error(`${name} took more than ${TIMEOUT_MS} ms`);
  process.exit(2);
}, TIMEOUT_MS);
await scenarios[name]();
for (const client of opened) client.end(true);
process.exit(0);
