import { createServer, IncomingMessage, type RequestListener, ServerResponse } from 'node:http'
import { setFlagsFromString } from 'node:v8'
import express from 'express'
import express4 from 'express4'
import { beforeAll, describe, expect, it } from 'vitest'
import { bitsUpload, memoryStore } from '../../../lib/index.ts'
import { type PacketOptions, send } from '../../support/client.ts'
import { listen, serve } from '../../support/server.ts'

/** Since Node 24 there is nothing to be done. */
const isMended = Number.parseInt(process.versions.v8, 10) >= 13

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

let haveSameClass: (one: object, other: object) => boolean
let isDictionary: (object: object) => boolean

beforeAll(() => {
  setFlagsFromString('--allow-natives-syntax')
  haveSameClass = new Function('one', 'other', 'return %HaveSameMap(one, other)') as typeof haveSameClass
  isDictionary = new Function('object', 'return !%HasFastProperties(object)') as typeof isDictionary
})

/** After so many what Express does is known, and what values properties have. */
const Rounds = 8
/** After so many also what an application adds that does not show among the names of properties. */
const ManyRounds = 24
/** Packets of those rounds behind which that begins. */
const Few = 20

/** Two packets that are answered at the same time, the last of several rounds. */
async function exchanges(
  mount: (upload: ReturnType<typeof bitsUpload>) => RequestListener,
  rounds = Rounds,
  packet: PacketOptions = {},
) {
  let seen: Exchange[] = []
  let go = (): void => {}
  let both = Promise.resolve()
  const upload = bitsUpload({
    store: memoryStore(),
    async authorize() {
      if (seen.length === 2) go()
      await both
      return true
    },
  })
  const handler = mount(upload)
  const url = await serve((request, response) => {
    seen.push({ request, response })
    handler(request, response)
  })
  for (let round = 0; round < rounds; round += 1) {
    seen = []
    both = new Promise<void>((resolve) => {
      go = resolve
    })
    const acks = await Promise.all([1, 2].map(() => send(new URL('/upload/file', url), 'Ping', packet)))
    expect(acks.map(({ status }) => status)).toEqual([200, 200])
  }
  return seen as [Exchange, Exchange]
}

/** Whether requests and responses share a class, and whether it is that of a dictionary. */
function shapes([one, other]: [Exchange, Exchange]) {
  const [request, response] = [
    haveSameClass(one.request, other.request),
    haveSameClass(one.response, other.response),
  ]
  const dictionaries = [one.request, other.request, one.response, other.response].map(isDictionary)
  return { shared: { request, response }, dictionaries }
}

const all = { request: true, response: true }

describe('Hidden-class fix for Node < 24', () => {
  it('shares hidden classes in Express 5, without dictionary mode', async () => {
    const { shared, dictionaries } = shapes(await exchanges((upload) => express().use('/upload', upload)))
    if (!isMended) expect(shared).toEqual(all)
    expect(dictionaries).toEqual([false, false, false, false])
  })

  it('shares hidden classes for POST with X-HTTP-Method-Override, without dictionary mode', async () => {
    const packet = { method: 'POST', headers: { 'X-HTTP-Method-Override': 'BITS_POST' } }
    const seen = await exchanges((upload) => express().use('/upload', upload), Rounds, packet)
    const { shared, dictionaries } = shapes(seen)
    if (!isMended) expect(shared).toEqual(all)
    expect(dictionaries).toEqual([false, false, false, false])
  })

  it('shares hidden classes in dictionary mode when the application adds properties', async () => {
    const { shared, dictionaries } = shapes(
      await exchanges((upload) =>
        express()
          .use((request, response, next) => {
            Object.assign(request, { user: 'somebody' })
            Object.assign(response, { user: 'somebody' })
            next()
          })
          .use('/upload', upload),
      ),
    )
    if (!isMended) expect(shared).toEqual(all)
    expect(dictionaries).toEqual([!isMended, !isMended, !isMended, !isMended])
  })

  it.each([
    ['symbol properties', (object: object) => Object.assign(object, { [Symbol('user')]: 'somebody' })],
    [
      'non-enumerable properties',
      (object: object) => Object.defineProperty(object, 'user', { value: 'somebody' }),
    ],
  ])('shares hidden classes when the application starts to add %s', async (_, add) => {
    let packets = 0
    const { shared } = shapes(
      await exchanges(
        (upload) =>
          express()
            .use((request, response, next) => {
              packets += 1
              if (packets > Few) {
                add(request)
                add(response)
              }
              next()
            })
            .use('/upload', upload),
        ManyRounds,
      ),
    )
    if (!isMended) expect(shared).toEqual(all)
  })

  it('shares hidden classes in Express 4, with requests in dictionary mode (own query)', async () => {
    const { shared, dictionaries } = shapes(
      await exchanges((upload) => express4().use('/upload', upload) as unknown as RequestListener),
    )
    if (!isMended) expect(shared).toEqual(all)
    expect(dictionaries).toEqual([!isMended, !isMended, false, false])
  })

  it('does not use dictionary mode when the prototypes are those of Node', async () => {
    const { dictionaries } = shapes(
      await exchanges((upload) => (request, response) => {
        upload(request, response, () => response.end())
      }),
    )
    expect(dictionaries).toEqual([false, false, false, false])
  })
})

describe('Predefined properties of packets', () => {
  it('are undefined before Express sets them, and do not change its values', async () => {
    const seen: unknown[] = []
    const app = express()
      .use((request, _response, next) => {
        seen.push(request.query, request.params, request.route, request.baseUrl, request.originalUrl)
        next()
      })
      .use('/upload', bitsUpload({ store: memoryStore() }))
    const url = await serve((request, response) => {
      const { next, baseUrl, originalUrl, params } = request as express.Request
      seen.push([
        request.method,
        next,
        baseUrl,
        originalUrl,
        params,
        response.statusCode,
        response.statusMessage,
      ])
      app(request, response)
    })
    expect((await send(new URL('/upload/file?a=1', url), 'Ping')).status).toBe(200)
    expect(seen).toEqual([
      ['BITS_POST', undefined, undefined, undefined, undefined, 200, undefined],
      { a: '1' },
      {},
      undefined,
      '',
      '/upload/file?a=1',
    ])
  })

  it('do not fail on a response class with a read-only statusMessage', async () => {
    class Quiet extends ServerResponse {}
    Object.defineProperty(Quiet.prototype, 'statusMessage', { get: () => 'Fine' })
    bitsUpload({ store: memoryStore() })
    const server = createServer({ ServerResponse: Quiet }, (_request, response) => {
      response.end()
    })
    const url = await listen(server)
    expect((await send(new URL('/upload/file', url), 'Ping')).status).toBe(200)
  })

  it('are added to packets only, and do not override properties of the class', async () => {
    const keys: unknown[] = []
    class Special extends IncomingMessage {
      get params(): string {
        return 'its own'
      }
    }
    bitsUpload({ store: memoryStore() })
    const server = createServer({ IncomingMessage: Special }, (request, response) => {
      keys.push(Object.keys(request).includes('baseUrl'), request.params)
      response.end()
    })
    const url = await listen(server)
    await fetch(url)
    await fetch(url, { method: 'POST', body: 'x' })
    await send(new URL('/upload/file', url), 'Ping')
    expect(keys).toEqual([false, 'its own', false, 'its own', !isMended, 'its own'])
  })
})
