// A client: node client.mjs PORT AUTHORITY PATH NAME...
//
// Gets PATH from each name with TLS 1.2 and with TLS 1.3, all from 127.0.0.1:PORT, and prints what it saw, a line of JSON
// for each.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';

const [port, authority, path, ...names] = process.argv.slice(2);
const ca = readFileSync(authority);

async function get(name, version) {
  const asked = request({
    host: '127.0.0.1', port, path, ca, servername: name, agent: false,
    headers: { Host: name }, minVersion: version, maxVersion: version,
  });
  asked.end();
  const [response] = await once(asked, 'response');
  const certificate = response.socket.getPeerCertificate();
  const protocol = response.socket.getProtocol();
  const hash = createHash('sha256');
  for await (const chunk of response) {
    hash.update(chunk);
  }
  return {
    name,
    fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    version: protocol,
    sha256: hash.digest('hex'),
  };
}

for (const name of names) {
  for (const version of ['TLSv1.2', 'TLSv1.3']) {
    console.log(JSON.stringify(await get(name, version)));
  }
}
