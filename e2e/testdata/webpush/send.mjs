// A sender of Web Push: node send.mjs, in a folder where web-push is installed.
//
// Reads a line of JSON for each message, {subscription, payload, options}, which are the arguments of the library's
// sendNotification; payload is base64, and absent for none. Every name is at 127.0.0.1. Prints for each its number, from
// 1, and the server's answer in JSON: {status, headers, body}, or {error} where there was none.
import { Agent } from 'node:https';
import { createInterface } from 'node:readline';
import webpush from 'web-push';

const here = { address: '127.0.0.1', family: 4 };
const agent = new Agent({
  lookup: (name, { all }, done) => (all ? done(null, [here]) : done(null, here.address, here.family)),
});

async function send({ subscription, payload, options }) {
  const data = payload === undefined ? null : Buffer.from(payload, 'base64');
  try {
    const { statusCode, headers, body } = await webpush.sendNotification(subscription, data, { ...options, agent });
    return { status: statusCode, headers, body };
  } catch (err) {
    const { statusCode, headers, body } = err;
    return statusCode ? { status: statusCode, headers, body } : { error: String(err) };
  }
}

let number = 0;
for await (const line of createInterface({ input: process.stdin })) {
  console.log(++number, JSON.stringify(await send(JSON.parse(line))));
}
