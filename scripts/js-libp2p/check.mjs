// A js-libp2p node uses the real clave-relay: over TCP, then over WebSocket, it speaks identify and ping, gets a place, and is
// reached through it by a second node, which asks it to say something back.
//
//     node check.mjs PATH_OF_CLAVE_RELAY

import './node20.mjs'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { webSockets } from '@libp2p/websockets'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const ECHO = '/clave-check/echo/1'
const ECHO_BYTES = 1_000_000
const PATIENCE_MS = 30_000

/** Fails instead of waiting for ever. */
function inTime (what, promise) {
  let timer
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${PATIENCE_MS} ms`)), PATIENCE_MS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** The relay, and the addresses that it prints. */
async function startRelay (program, folder, listen) {
  const flags = listen.flatMap(address => ['--listen', address])
  const child = spawn(program, ['run', '--identity', join(folder, 'relay.key'), ...flags], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise((resolve, reject) => {
    child.once('exit', resolve)
    child.once('error', reject)
  })
  const addresses = []
  const printed = (async () => {
    for await (const line of createInterface({ input: child.stdout })) {
      addresses.push(line.replace(/^listening on /, ''))
      if (addresses.length === listen.length) return
    }
    throw new Error('the relay ended')
  })()
  await inTime('the relay starts', Promise.race([printed, ended.then(() => { throw new Error('the relay ended') })]))
  return { addresses, stop: () => { child.kill('SIGINT'); return ended } }
}

function node (listen) {
  return createLibp2p({
    addresses: { listen },
    transports: [tcp(), webSockets(), circuitRelayTransport()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify(), ping: ping() }
  })
}

/** Everything that the other side sends until it closes. */
async function all (stream) {
  const parts = []
  for await (const part of stream) parts.push(part.subarray())
  return Buffer.concat(parts)
}

async function send (stream, bytes) {
  for (let at = 0; at < bytes.length; at += 65_536) {
    if (!stream.send(bytes.subarray(at, at + 65_536))) await stream.onDrain()
  }
  await stream.close()
}

async function check (relay) {
  const [hidden, caller] = await Promise.all([node([`${relay}/p2p-circuit`]), node([])])
  try {
    await hidden.handle(ECHO, async stream => { await send(stream, await all(stream)) }, { runOnLimitedConnection: true })

    const isPlace = address => address.toString().includes('/p2p-circuit')
    const placed = new Promise(resolve => {
      const look = () => { if (hidden.getMultiaddrs().some(isPlace)) resolve() }
      hidden.addEventListener('self:peer:update', look)
      look()
    })
    await inTime('a place at the relay', placed)
    const place = hidden.getMultiaddrs().find(isPlace)
    assert.ok(place.toString().startsWith(relay), `${place} is at another relay than ${relay}`)

    // js-libp2p asks by itself, once connected.
    const identified = new Promise(resolve => caller.addEventListener('peer:identify', event => resolve(event.detail)))
    const connection = await inTime('connecting', caller.dial(multiaddr(relay)))
    const said = await inTime('identify', identified)
    assert.ok(said.peerId.equals(connection.remotePeer))
    assert.equal(said.agentVersion, 'clave')
    for (const protocol of ['/ipfs/ping/1.0.0', '/libp2p/circuit/relay/0.2.0/hop', '/libp2p/autonat/2/dial-request']) {
      assert.ok(said.protocols.includes(protocol), `${protocol} is not among ${said.protocols}`)
    }
    const relayPing = await inTime('ping', caller.services.ping.ping(multiaddr(relay)))

    const through = await inTime('dialling through the relay', caller.dial(place))
    assert.ok(through.remotePeer.equals(hidden.peerId) && through.limits != null, 'a limited connection with the hidden node')
    const peerPing = await inTime('ping through the relay', caller.services.ping.ping(hidden.peerId))
    const stream = await inTime('a stream through the relay', through.newStream(ECHO, { runOnLimitedConnection: true }))
    const sent = randomBytes(ECHO_BYTES)
    const [, came] = await inTime('the echo', Promise.all([send(stream, sent), all(stream)]))
    assert.ok(sent.equals(came), `${came.length} bytes came back of ${sent.length}, or others`)
    console.log(`${relay.replace(/\/p2p\/.*/, '')}: identify, ping ${relayPing} ms, a place, ` +
      `reached through it: ping ${peerPing} ms, ${came.length} bytes there and back`)
  } finally {
    await Promise.all([hidden.stop(), caller.stop()])
  }
}

const folder = await mkdtemp(join(tmpdir(), 'clave-js-'))
const relay = await startRelay(process.argv[2], folder, ['/ip4/127.0.0.1/tcp/0', '/ip4/127.0.0.1/tcp/0/ws'])
try {
  for (const address of relay.addresses.sort((one, other) => one.length - other.length)) await check(address)
} finally {
  await relay.stop()
  await rm(folder, { recursive: true })
}
