// websocket_check.mjs: node's WebSocket as the visitor of a tunnel before echo.mjs.
//
//     node websocket_check.mjs FRONT      HOST:PORT; prints `all is well` at the end
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'

const front = process.argv[2]
const MIB = 1 << 20

async function open(protocols) {
  const socket = new WebSocket(`ws://${front}/echo`, protocols)
  socket.binaryType = 'arraybuffer'
  await once(socket, 'open')
  return socket
}

async function echo(socket, data) {
  socket.send(data)
  const [event] = await once(socket, 'message')
  return typeof data === 'string' ? event.data : Buffer.from(event.data)
}

async function messages() {
  const socket = await open(['first', 'second'])
  assert.equal(socket.protocol, 'first')
  for (const text of ['', 'Grüße 🌍', 'x'.repeat(125), 'x'.repeat(126), 'y'.repeat(65535), 'z'.repeat(65536), 'ü'.repeat(MIB / 2)])
    assert.equal(await echo(socket, text), text)
  for (const n of [1, 126, 65536, MIB]) {
    const data = randomBytes(n)
    assert.ok(data.equals(await echo(socket, data)))
  }
  socket.close()
}

async function manyUnderWay() {
  const socket = await open(), sent = Array.from({ length: 16 }, () => randomBytes(MIB)), got = []
  const all = new Promise((resolve) => (socket.onmessage = ({ data }) => got.push(Buffer.from(data)) === sent.length && resolve()))
  for (const data of sent) socket.send(data)
  await all
  got.forEach((data, i) => assert.ok(data.equals(sent[i])))
  socket.close()
}

async function closes() {
  let socket = await open()
  socket.close(3001, 'by the visitor')
  let [event] = await once(socket, 'close')
  assert.deepEqual([event.code, event.reason, event.wasClean], [3001, 'by the visitor', true])
  socket = await open()
  socket.send('close 4002 by the origin')
  ;[event] = await once(socket, 'close')
  assert.deepEqual([event.code, event.reason, event.wasClean], [4002, 'by the origin', true])
}

// Of the bytes below the messages: the visitor ends its side, and still hears the origin's last word.
async function halfClose() {
  const [host, port] = front.split(':'), socket = connect({ host, port, allowHalfOpen: true })
  socket.write(`GET /last HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`)
  const [head] = await once(socket, 'data')
  assert.match(head.toString(), /^HTTP\/1.1 101 /)
  socket.end(Buffer.alloc(MIB))
  let said = head.toString().split('\r\n\r\n')[1]
  for await (const part of socket) said += part
  assert.equal(said, `${MIB} bytes came`)
}

for (const check of [messages, manyUnderWay, closes, halfClose]) {
  await check()
  console.log(check.name)
}
console.log('all is well')
process.exit(0)
