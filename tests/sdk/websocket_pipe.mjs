// websocket_pipe.mjs: standard input and output over a WebSocket, for ssh's ProxyCommand.
//
//     node websocket_pipe.mjs URL
const socket = new WebSocket(process.argv[2])
socket.binaryType = 'arraybuffer'
socket.onmessage = ({ data }) => process.stdout.write(Buffer.from(data))
socket.onclose = () => process.exit(0)
socket.onerror = ({ message }) => (console.error(message), process.exit(1))
socket.onopen = async () => {
  for await (const part of process.stdin) {
    socket.send(part)
    while (socket.bufferedAmount > 1 << 20) await new Promise((resolve) => setTimeout(resolve, 1))
  }
  socket.close(1000)
}
