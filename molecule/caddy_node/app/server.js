// Copyright (c) 2026, Seamless Rollout Contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
'use strict';

const fs = require('fs');
const http = require('http');
const os = require('os');
const version = require('./version.js');

const DRAIN = process.env.DRAIN_FILE;
let ending = false;

const server = http.createServer((request, response) => {
  // What the balancer asks: 503 takes this server out of rotation.
  const out = request.url === '/up' && (ending || fs.existsSync(DRAIN));
  const body = JSON.stringify({version, host: os.hostname(), path: request.url});
  if (ending) response.setHeader('Connection', 'close');
  response.writeHead(out ? 503 : 200, {'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body)});
  response.end(body);
});

// Connections that Caddy keeps for reuse must not end first on this side: the default is 5 seconds, and Caddy keeps them for 30 (Caddyfile).
server.keepAliveTimeout = 35_000;
server.headersTimeout = 40_000;
server.listen(3000);

// systemd stops the service with SIGTERM: take no more, finish what runs, then end.
process.on('SIGTERM', () => {
  ending = true;
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
