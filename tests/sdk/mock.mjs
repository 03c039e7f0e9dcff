// mock.mjs: an origin that speaks both APIs, with made-up answers in their documented shapes.
//
//     node mock.mjs      prints `listening PORT`
//
// The model of a request says what happens: `plain`; `paced` (each delta waits for POST /go); `thinks` (silence before
// each delta); `endless` (until the visitor leaves); `silent` (no answer at all); a number: an error with that status.
// GET /closed tells when the visitor of the latest endless or silent one had left.
import { createServer } from 'node:http'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

export const words = ['Grüße', ' an', ' alle', ' 🌍', '.']
const pieces = ['{"city":', '"Zürich",', '"days":3}']
let go = Promise.resolve(), release = () => {}
let closedAt = null

const json = (res, status, value, headers = {}) =>
  res.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value))

// Written in two pieces, the cut anywhere, even inside a character.
async function event(res, value, name) {
  const text = Buffer.from(`${name ? `event: ${name}\n` : ''}data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`)
  const cut = text.length >> 1
  res.write(text.subarray(0, cut))
  await new Promise(setImmediate)
  res.write(text.subarray(cut))
}

async function pause(model) {
  if (model === 'thinks') await sleep(150)
  if (model !== 'paced') return
  await go
  go = new Promise((resolve) => (release = resolve))
}

async function forever(res, send) {
  const closed = once(res, 'close').then(() => (closedAt = process.hrtime.bigint()))
  closedAt = null
  while (send && !res.closed) {
    await send()
    await Promise.race([closed, sleep(5)])
  }
  await closed
}

// ---- POST /v1/chat/completions ------------------------------------------------------------------------

async function streamChat(res, ask) {
  const part = (delta, finish_reason = null) =>
    event(res, { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: ask.model,
                 choices: [{ index: 0, delta, logprobs: null, finish_reason }] })
  res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache', 'x-request-id': 'req_1' })
  if (ask.model === 'endless') return forever(res, () => part({ content: 'on and ' }))
  await part({ role: 'assistant', content: ask.tools ? null : '' })
  if (ask.tools) await part({ tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'weather', arguments: '' } }] })
  for (const p of ask.tools ? pieces : words) {
    await pause(ask.model)
    await part(ask.tools ? { tool_calls: [{ index: 0, function: { arguments: p } }] } : { content: p })
  }
  await part({}, ask.tools ? 'tool_calls' : 'stop')
  await event(res, '[DONE]')
  res.end()
}

const chat = (ask) => ({
  id: 'chatcmpl-1', object: 'chat.completion', created: 1, model: ask.model,
  choices: [{ index: 0, logprobs: null, finish_reason: ask.tools ? 'tool_calls' : 'stop',
              message: ask.tools
                ? { role: 'assistant', content: null, tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'weather', arguments: pieces.join('') } }] }
                : { role: 'assistant', content: words.join('') } }],
  usage: { prompt_tokens: 3, completion_tokens: 5, total_tokens: 8 },
})

// ---- POST /v1/messages --------------------------------------------------------------------------------

async function streamMessage(res, ask) {
  const say = (type, rest) => event(res, { type, ...rest }, type)
  const delta = (d) => say('content_block_delta', { index: 0, delta: d })
  res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache', 'request-id': 'req_1' })
  await say('message_start', { message: { ...message(ask), content: [], stop_reason: null } })
  await say('content_block_start', { index: 0, content_block: ask.tools ? { type: 'tool_use', id: 'toolu_1', name: 'weather', input: {} } : { type: 'text', text: '' } })
  await say('ping', {})
  if (ask.model === 'endless') return forever(res, () => delta({ type: 'text_delta', text: 'on and ' }))
  for (const p of ask.tools ? pieces : words) {
    await pause(ask.model)
    await delta(ask.tools ? { type: 'input_json_delta', partial_json: p } : { type: 'text_delta', text: p })
  }
  await say('content_block_stop', { index: 0 })
  await say('message_delta', { delta: { stop_reason: ask.tools ? 'tool_use' : 'end_turn', stop_sequence: null }, usage: { output_tokens: 5 } })
  await say('message_stop', {})
  res.end()
}

const message = (ask) => ({
  id: 'msg_1', type: 'message', role: 'assistant', model: ask.model, stop_sequence: null,
  content: [ask.tools ? { type: 'tool_use', id: 'toolu_1', name: 'weather', input: JSON.parse(pieces.join('')) } : { type: 'text', text: words.join('') }],
  stop_reason: ask.tools ? 'tool_use' : 'end_turn', usage: { input_tokens: 3, output_tokens: 5 },
})

// ---- errors -------------------------------------------------------------------------------------------

const kinds = { 401: 'authentication_error', 429: 'rate_limit_error', 500: 'api_error', 529: 'overloaded_error' }

function refuse(res, status, anthropic) {
  const error = { type: kinds[status], message: `made-up ${status}` }
  json(res, status, anthropic ? { type: 'error', error, request_id: 'req_1' } : { error: { ...error, param: null, code: null } },
       { 'retry-after': '7', [anthropic ? 'request-id' : 'x-request-id']: 'req_1' })
}

// ---- the server ---------------------------------------------------------------------------------------

const server = createServer(async (req, res) => {
  let body = ''
  for await (const part of req) body += part
  if (req.url === '/go') return release(), res.end()
  if (req.url === '/closed') return json(res, 200, { at: closedAt && String(closedAt) })
  const ask = JSON.parse(body), anthropic = req.url === '/v1/messages'
  if (!anthropic && req.url !== '/v1/chat/completions') return json(res, 404, {})
  if (Number(ask.model)) return refuse(res, Number(ask.model), anthropic)
  if (ask.model === 'silent') return forever(res)
  if (!ask.stream) return json(res, 200, anthropic ? message(ask) : chat(ask))
  return anthropic ? streamMessage(res, ask) : streamChat(res, ask)
})
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`))
