// echo.mjs: a WebSocket server that sends back what it gets, on node's own sockets.
//
//     node echo.mjs      prints `listening PORT`
//
// The text `close CODE REASON` makes it close so. Path /last: bytes instead of messages; once the other side has ended,
// it answers how many came, and ends.
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'

const TEXT = 1, CLOSE = 8, PING = 9, PONG = 10

function frame(opcode, data) {
  const n = data.length, head = Buffer.alloc(n < 126 ? 2 : n < 65536 ? 4 : 10)
  head[0] = 0x80 | opcode
  head[1] = n < 126 ? n : n < 65536 ? 126 : 127
  if (head.length === 4) head.writeUInt16BE(n, 2)
  if (head.length === 10) head.writeBigUInt64BE(BigInt(n), 2)
  return Buffer.concat([head, data])
}

// The first frame of what has come, unmasked, or null if it is not whole.
function parse(bytes) {
  if (bytes.length < 2) return null
  const short = bytes[1] & 127, at = short < 126 ? 2 : short === 126 ? 4 : 10
  if (bytes.length < at + 4) return null
  const n = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
  if (bytes.length < at + 4 + n) return null
  const mask = bytes.subarray(at, at + 4), data = Buffer.from(bytes.subarray(at + 4, at + 4 + n))
  for (let i = 0; i < n; i++) data[i] ^= mask[i & 3]
  return { final: bytes[0] & 0x80, opcode: bytes[0] & 15, data, rest: bytes.subarray(at + 4 + n) }
}

function serve(socket, first) {
  let parts = [first], kind = 0, message = []
  const take = ({ final, opcode, data }) => {
    if (opcode === CLOSE) return socket.end(frame(CLOSE, data))
    if (opcode === PING) return socket.write(frame(PONG, data))
    if (opcode) kind = opcode
    message.push(data)
    if (!final) return
    const whole = Buffer.concat(message), close = kind === TEXT && /^close (\d+) (.*)/.exec(whole)
    message = []
    if (!close) return socket.write(frame(kind, whole))
    const code = Buffer.alloc(2)
    code.writeUInt16BE(Number(close[1]))
    socket.write(frame(CLOSE, Buffer.concat([code, Buffer.from(close[2])])))
  }
  const more = (bytes) => {
    parts.push(bytes)
    let all = Buffer.concat(parts)
    for (let one; (one = parse(all)); all = one.rest) take(one)
    parts = [all]
  }
  socket.on('data', more)
  socket.on('end', () => socket.end())
  socket.on('error', () => {})
}

function last(socket, first) {
  let n = first.length
  socket.on('data', (bytes) => (n += bytes.length))
  socket.on('end', () => socket.end(`${n} bytes came`))
}

const server = createServer((_, res) => res.writeHead(426).end())
server.on('upgrade', (req, socket, head) => {
  const accept = createHash('sha1').update(req.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64')
  const protocol = req.headers['sec-websocket-protocol']
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    `Sec-WebSocket-Accept: ${accept}\r\n${protocol ? `Sec-WebSocket-Protocol: ${protocol.split(',')[0]}\r\n` : ''}\r\n`)
  socket.setNoDelay()
  return req.url === '/last' ? last(socket, head) : serve(socket, head)
})
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`))
