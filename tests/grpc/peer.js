/* peer.js: gRPC as Node's http2 speaks it, both ends: `peer.js serve [KEY CERT]` prints "port N"; `peer.js call ADDR`
 * calls every kind of method there and prints how each ended. Messages are framed, their bytes are whatever. */
'use strict';
const fs = require('node:fs');
const http2 = require('node:http2');

const framed = (text) => {
  const body = Buffer.from(text);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
};

/* Calls message(text) for each whole one. */
const reading = (stream, message, end) => {
  let rest = Buffer.alloc(0);
  stream.on('data', (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const n = 5 + rest.readUInt32BE(1);
      message(rest.subarray(5, n).toString());
      rest = rest.subarray(n);
    }
  });
  stream.on('end', end);
};

/* ---- the server --------------------------------------------------------------------------------------- */

const answer = (stream, status, text = '') => {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status(), 'grpc-message': text }));
};
const ok = () => '0';

const methods = {
  '/t/Unary': (stream) => reading(stream, (m) => { answer(stream, ok); stream.end(framed('got ' + m)); }, () => {}),
  '/t/Refused': (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5',
                     'grpc-message': 'no such thing' }, { endStream: true });
  },
  '/t/Down': (stream) => {
    answer(stream, ok);
    let n = 0;
    const next = () => (n++ < 5 ? stream.write(framed('m' + n), next) : stream.end());
    next();
  },
  '/t/Up': (stream) => {
    let n = 0;
    reading(stream, () => n++, () => { answer(stream, ok); stream.end(framed('n' + n)); });
  },
  '/t/Chat': (stream) => {
    answer(stream, ok);
    reading(stream, (m) => stream.write(framed('re ' + m)), () => stream.end());
  },
  '/t/Broken': (stream) => { answer(stream, () => '9', 'half way'); stream.end(framed('first')); },
  '/t/Large': (stream) => {
    answer(stream, ok);
    reading(stream, (m) => stream.end(framed(m)), () => {});
  },
  '/t/Forever': (stream) => {
    answer(stream, ok);
    stream.write(framed('begun'));
    stream.on('close', () => console.log('forever closed ' + stream.rstCode));
  },
};

const serve = (key, cert) => {
  const server = key
    ? http2.createSecureServer({ key: fs.readFileSync(key), cert: fs.readFileSync(cert) })
    : http2.createServer();
  server.on('stream', (stream, headers) => {
    const alien = ['connection', 'transfer-encoding', 'keep-alive', 'upgrade', 'host'].filter((n) => n in headers);
    stream.on('error', () => {});
    if (headers.te !== 'trailers' || alien.length || !methods[headers[':path']])
      stream.respond({ ':status': 400 }, { endStream: true });
    else
      methods[headers[':path']](stream);
  });
  server.listen(0, '127.0.0.1', () => console.log('port ' + server.address().port));
};

/* ---- the client --------------------------------------------------------------------------------------- */

const call = (client, method, talk) => new Promise((done) => {
  const stream = client.request({ ':method': 'POST', ':path': method, 'content-type': 'application/grpc+proto',
                                  te: 'trailers' });
  const got = { messages: [], where: 'nowhere', status: '', text: '' };
  const keep = (where) => (fields) => {
    if ('grpc-status' in fields)
      Object.assign(got, { where, status: fields['grpc-status'], text: fields['grpc-message'] ?? '' });
  };
  stream.on('response', keep('head'));
  stream.on('trailers', keep('trailers'));
  stream.on('error', (e) => { got.text = e.code; });
  stream.on('close', () => done(got));
  reading(stream, (m) => { got.messages.push(m); talk.heard?.(stream, got.messages.length); }, () => {});
  talk.begin(stream);
});

const say = (...messages) => ({ begin: (s) => { messages.forEach((m) => s.write(framed(m))); s.end(); } });
const large = 'x'.repeat(3 << 20);

const talks = {
  Unary: say('hello'),
  Refused: say('hello'),
  Down: say('five'),
  Up: say('1', '2', '3'),
  Chat: {
    begin: (s) => s.write(framed('1')),
    heard: (s, n) => (n < 4 ? s.write(framed(String(n + 1))) : s.end()),
  },
  Broken: say('x'),
  Large: say(large),
  Forever: { begin: (s) => s.write(framed('1')), heard: (s) => s.close(http2.constants.NGHTTP2_CANCEL) },
};

const callAll = async (address) => {
  const client = http2.connect('http://' + address);
  for (const [name, talk] of Object.entries(talks)) {
    const got = await call(client, '/t/' + name, talk);
    const messages = got.messages.map((m) => (m === large ? 'large' : m)).join(',');
    console.log(`${name}: [${messages}] ${got.status} in ${got.where} "${got.text}"`);
  }
  client.close();
};

const [what, ...args] = process.argv.slice(2);
if (what === 'serve')
  serve(...args);
else
  callAll(...args).then(() => console.log('done'));
