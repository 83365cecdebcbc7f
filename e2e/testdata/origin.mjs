// An origin: node origin.mjs CERTIFICATE KEY FOLDER. It serves the folder's files to GET, and answers a POST with the
// SHA-256 of its body, over HTTP/2 and HTTP/1.1. Once it listens it prints its port.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import { basename, join } from 'node:path';

const [certificate, key, folder] = process.argv.slice(2);

const server = createSecureServer(
  { cert: readFileSync(certificate), key: readFileSync(key), allowHTTP1: true },
  (request, response) => {
    if (request.method === 'POST') {
      const hash = createHash('sha256');
      request.on('data', (chunk) => hash.update(chunk));
      request.on('end', () => response.end(hash.digest('hex')));
      return;
    }
    response.end(readFileSync(join(folder, basename(request.url))));
  },
);

server.listen(0, '127.0.0.1', () => console.log(`listening on port ${server.address().port}`));
