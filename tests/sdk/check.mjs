// check.mjs: the SDKs of both APIs as visitors of a tunnel before mock.mjs.
//
//     node check.mjs FRONT MOCK      addresses, HOST:PORT; prints `all is well` at the end
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(`${process.cwd()}/build/peers/sdk/`)
const { OpenAI } = require('openai')
const { Anthropic } = require('@anthropic-ai/sdk')
const [front, mock] = process.argv.slice(2).map((addr) => `http://${addr}`)
const text = 'Grüße an alle 🌍.', input = { city: 'Zürich', days: 3 }

const openai = new OpenAI({ baseURL: `${front}/v1`, apiKey: 'none', maxRetries: 0, timeout: 20000 })
const anthropic = new Anthropic({ baseURL: front, apiKey: 'none', maxRetries: 0, timeout: 20000 })
const messages = [{ role: 'user', content: 'Say something.' }]
const schema = { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } } }

// One shape for both: ask, and what an answer or a stream of one comes to.
const apis = [
  {
    name: 'openai',
    errors: { 401: OpenAI.AuthenticationError, 429: OpenAI.RateLimitError, 500: OpenAI.InternalServerError, 529: OpenAI.InternalServerError },
    aborted: OpenAI.APIUserAbortError,
    tools: [{ type: 'function', function: { name: 'weather', parameters: schema } }],
    ask: (rest, options) => openai.chat.completions.create({ messages, ...rest }, options),
    text: (answer) => answer.choices[0].message.content,
    input: (answer) => JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments),
    delta: (event) => event.choices[0].delta.content,
    partial: (event) => event.choices[0].delta.tool_calls?.[0].function.arguments,
    path: '/v1/chat/completions',
    beats: /^:/gm,
    own: 0,
  },
  {
    name: 'anthropic',
    errors: { 401: Anthropic.AuthenticationError, 429: Anthropic.RateLimitError, 500: Anthropic.InternalServerError, 529: Anthropic.InternalServerError },
    aborted: Anthropic.APIUserAbortError,
    tools: [{ name: 'weather', input_schema: schema }],
    ask: (rest, options) => anthropic.messages.create({ messages, max_tokens: 99, ...rest }, options),
    text: (answer) => answer.content[0].text,
    input: (answer) => answer.content[0].input,
    delta: (event) => event.delta?.text,
    partial: (event) => event.delta?.partial_json,
    path: '/v1/messages',
    beats: /^event: ping$/gm,
    own: 1, // the mock's
  },
]

async function collect(stream, part, between = () => {}) {
  let all = ''
  for await (const event of stream) {
    const piece = part(event)
    all += piece ?? ''
    if (piece) await between()
  }
  return all
}

async function answers(api) {
  const { tools } = api
  assert.equal(api.text(await api.ask({ model: 'plain' })), text)
  assert.deepEqual(api.input(await api.ask({ model: 'plain', tools })), input)
}

async function streams(api) {
  const { tools } = api
  assert.equal(await collect(await api.ask({ model: 'plain', stream: true }), api.delta), text)
  assert.deepEqual(JSON.parse(await collect(await api.ask({ model: 'plain', stream: true, tools }), api.partial)), input)
  const go = () => fetch(`${mock}/go`, { method: 'POST' }) // the next delta leaves once this one is here
  assert.equal(await collect(await api.ask({ model: 'paced', stream: true }), api.delta, go), text)
}

async function heartbeats(api) {
  assert.equal(await collect(await api.ask({ model: 'thinks', stream: true }), api.delta), text)
  const raw = await fetch(front + api.path, { method: 'POST', headers: { 'content-type': 'application/json' },
                                              body: JSON.stringify({ model: 'thinks', stream: true, messages }) })
  assert.ok((await raw.text()).match(api.beats)?.length > api.own)
}

async function errors(api) {
  for (const [status, kind] of Object.entries(api.errors)) {
    const error = await api.ask({ model: status, stream: true }).then(() => assert.fail('no error'), (e) => e)
    assert.ok(error instanceof kind, `${status}: ${error}`)
    assert.equal(error.status, Number(status))
    assert.match(error.message, new RegExp(`made-up ${status}`))
    assert.equal(error.headers.get('retry-after'), '7')
    assert.equal(error.requestID, 'req_1')
  }
}

// Milliseconds from the abort until the origin saw it.
async function noticed(since) {
  for (let i = 0; i < 1000; i++, await sleep(5)) {
    const { at } = await (await fetch(`${mock}/closed`)).json()
    if (at) return Number(BigInt(at) - since) / 1e6
  }
  assert.fail('the origin does not hear that the visitor has left')
}

async function aborts(api) {
  const stream = await api.ask({ model: 'endless', stream: true })
  let n = 0, since
  for await (const event of stream) {
    if (!api.delta(event) || ++n < 5) continue
    since = process.hrtime.bigint()
    stream.controller.abort()
  }
  const streaming = await noticed(since)

  const controller = new AbortController()
  const asked = api.ask({ model: 'silent' }, { signal: controller.signal })
  await sleep(100) // long enough for the origin to have the request
  since = process.hrtime.bigint()
  controller.abort()
  await assert.rejects(asked, api.aborted)
  const waiting = await noticed(since)
  assert.ok(Math.max(streaming, waiting) < 1000, `${streaming} ms, ${waiting} ms`)
  console.log(`${api.name}: aborts reach the origin in ${streaming.toFixed(1)} and ${waiting.toFixed(1)} ms`)
}

for (const api of apis)
  for (const check of [answers, streams, errors, aborts, heartbeats]) {
    await check(api)
    console.log(`${api.name} ${check.name}`)
  }
console.log('all is well')
process.exit(0)
