/**
 * A reverse proxy with TLS, as a lab puts it in front of a server: `node proxy.mjs TARGET CERT KEY
 * PREFIX`. Paths below the prefix go to the target without it. Prints its port.
 */
import {createServer} from 'node:https';
import {readFileSync} from 'node:fs';
import httpProxy from '../client/node_modules/http-proxy/index.js';

const [target, cert, key, prefix] = process.argv.slice(2);
const proxy = httpProxy.createProxyServer({target, xfwd: true});
proxy.on('proxyReq', (ask, _, response) => response.on('close', () => ask.destroy()));
proxy.on('error', (_, __, response) => response.destroy?.());
const server = createServer(
  {cert: readFileSync(cert), key: readFileSync(key)},
  (request, response) => {
    if (prefix && request.url.startsWith(prefix))
      request.url = request.url.slice(prefix.length) || '/';
    proxy.web(request, response);
  },
);
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
