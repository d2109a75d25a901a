// A Helia node that a test drives: one JSON command a line on stdin, one JSON
// answer a line on stdout, in order. Diagnostics go to stderr.

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'

import { withBitswap } from '@helia/bitswap'
import { withLibp2pLight } from '@helia/libp2p'
import { unixfs } from '@helia/unixfs'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createHeliaLight } from 'helia'
import { CID } from 'multiformats/cid'

const GET_TIMEOUT_MS = 60_000

// stdout carries the answers alone, whatever a library may print.
console.log = console.info = console.debug = console.error

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)

// With --dht it is a server of the IPFS DHT, too; loopback counts there.
const dht = () => ({
  ping: ping(),
  dht: kadDHT({ protocol: '/ipfs/kad/1.0.0', clientMode: false, peerInfoMapper: passthroughMapper })
})

// The "light" pair adds no defaults: what is not named here (bootstrap, mDNS,
// gateways, relays, UPnP...) is absent, so without --dht a block can only come
// over Bitswap from a peer that was dialled or that dialled us.
const helia = withBitswap(withLibp2pLight(createHeliaLight(), {
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  // Helia's Bitswap speaks only to peers that identify has shown to speak it.
  services: { identify: identify(), ...(process.argv.includes('--dht') ? dht() : {}) }
}))
await helia.start()

const fs = unixfs(helia)
// Hashes a file as Helia would, and keeps nothing: a later get stays cold.
const hashOnly = unixfs({ blockstore: { put: async (cid) => cid } })

// xorshift32, each word little endian, the last one cut to size.
function randomBytes (size, seed) {
  let x = seed >>> 0
  if (x === 0) throw new Error('the seed must not be zero')
  const words = new DataView(new ArrayBuffer(Math.ceil(size / 4) * 4))
  for (let at = 0; at < size; at += 4) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    words.setUint32(at, x, true)
  }
  return new Uint8Array(words.buffer, 0, size)
}

const commands = {
  async add ({ size, seed }) {
    const bytes = randomBytes(size, seed)
    const cid = await fs.addBytes(bytes)
    return { cid: cid.toString(), sha256: createHash('sha256').update(bytes).digest('hex') }
  },

  async add_file ({ path }) {
    return { cid: (await fs.addByteStream(createReadStream(path))).toString() }
  },

  async cid_file ({ path }) {
    return { cid: (await hashOnly.addByteStream(createReadStream(path))).toString() }
  },

  async dial ({ addr }) {
    const connection = await helia.libp2p.dial(multiaddr(addr))
    return { peer_id: connection.remotePeer.toString() }
  },

  async provide ({ cid }) {
    await helia.libp2p.contentRouting.provide(CID.parse(cid))
    return {}
  },

  async providers ({ cid }) {
    const found = []
    for await (const { id } of helia.libp2p.contentRouting.findProviders(CID.parse(cid))) {
      found.push(id.toString())
    }
    return { providers: found }
  },

  async get ({ cid }) {
    const started = performance.now()
    const signal = AbortSignal.timeout(GET_TIMEOUT_MS)
    const hash = createHash('sha256')
    let size = 0
    for await (const chunk of fs.cat(CID.parse(cid), { signal })) {
      hash.update(chunk)
      size += chunk.byteLength
    }
    const ms = Math.round(performance.now() - started)
    return { size, sha256: hash.digest('hex'), ms }
  },

  // Nothing is pinned, so the garbage collector takes every block. A Helia that
  // has served them on this connection will not send them again when asked once.
  async clear () {
    await helia.gc()
    return {}
  },

  async peers () {
    const peers = await Promise.all(helia.libp2p.getPeers().map(async (id) => {
      // A peer is unknown to the store until identify has run.
      const known = await helia.libp2p.peerStore.get(id).catch(() => undefined)
      const agent = known?.metadata.get('AgentVersion')
      return {
        peer_id: id.toString(),
        agent: agent == null ? null : new TextDecoder().decode(agent),
        protocols: known?.protocols ?? []
      }
    }))
    return { peers }
  }
}

// LoadBlockFailedError and its like hide the cause in `errors`.
function describe (error) {
  const causes = (error?.errors ?? []).map(describe)
  return [`${error?.name ?? 'Error'}: ${error?.message ?? error}`, ...causes].join(' <- ')
}

say({
  event: 'ready',
  peer_id: helia.libp2p.peerId.toString(),
  addrs: helia.libp2p.getMultiaddrs().map(String)
})

for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === '') continue
  try {
    const command = JSON.parse(line)
    if (!Object.hasOwn(commands, command.do)) throw new Error(`unknown command: ${command.do}`)
    say({ ok: true, ...await commands[command.do](command) })
  } catch (error) {
    console.error(error)
    say({ ok: false, error: describe(error) })
  }
}

await helia.stop()
// Timers of the libraries may outlive them; the exit code must not depend on it.
process.exit(0)
