import { createServer, IncomingMessage, type RequestListener, ServerResponse } from 'node:http'
import { setFlagsFromString } from 'node:v8'
import express from 'express'
import express4 from 'express4'
import { beforeAll, describe, expect, it } from 'vitest'
import { bitsUpload, memoryStore } from '../../../lib/index.ts'
import { type PacketOptions, send } from '../../support/client.ts'
import { listen, serve } from '../../support/server.ts'

/** Node 24 and later need no fix. */
const isFixedInV8 = Number.parseInt(process.versions.v8, 10) >= 13

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

/** Rounds after which the fix knows the properties that Express adds. */
const Rounds = 8
/** Rounds after which the fix has also found properties that `Object.keys` does not list. */
const ManyRounds = 24
/** Packets after which the application starts to add such properties. */
const PacketsBeforeProperties = 20

/** Sends two packets at the same time, in several rounds; returns the exchanges of the last round. */
async function exchanges(
  mount: (upload: ReturnType<typeof bitsUpload>) => RequestListener,
  rounds = Rounds,
  packet: PacketOptions = {},
) {
  let seen: Exchange[] = []
  let release = (): void => {}
  let bothArrived = Promise.resolve()
  const upload = bitsUpload({
    store: memoryStore(),
    async authorize() {
      if (seen.length === 2) release()
      await bothArrived
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
    bothArrived = new Promise<void>((resolve) => {
      release = resolve
    })
    const acks = await Promise.all([1, 2].map(() => send(new URL('/upload/file', url), 'Ping', packet)))
    expect(acks.map(({ status }) => status)).toEqual([200, 200])
  }
  return seen as [Exchange, Exchange]
}

/**
 * Whether the two requests and the two responses share a hidden class, and which objects are in dictionary
 * mode.
 */
function hiddenClasses([one, other]: [Exchange, Exchange]) {
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
    const { shared, dictionaries } = hiddenClasses(
      await exchanges((upload) => express().use('/upload', upload)),
    )
    if (!isFixedInV8) expect(shared).toEqual(all)
    expect(dictionaries).toEqual([false, false, false, false])
  })

  it('shares hidden classes for POST with X-HTTP-Method-Override, without dictionary mode', async () => {
    const packet = { method: 'POST', headers: { 'X-HTTP-Method-Override': 'BITS_POST' } }
    const seen = await exchanges((upload) => express().use('/upload', upload), Rounds, packet)
    const { shared, dictionaries } = hiddenClasses(seen)
    if (!isFixedInV8) expect(shared).toEqual(all)
    expect(dictionaries).toEqual([false, false, false, false])
  })

  it('shares hidden classes in dictionary mode when the application adds properties', async () => {
    const { shared, dictionaries } = hiddenClasses(
      await exchanges((upload) =>
        express()
          .use((request, response, next) => {
            Object.assign(request, { user: 'alice' })
            Object.assign(response, { user: 'alice' })
            next()
          })
          .use('/upload', upload),
      ),
    )
    if (!isFixedInV8) expect(shared).toEqual(all)
    expect(dictionaries).toEqual([!isFixedInV8, !isFixedInV8, !isFixedInV8, !isFixedInV8])
  })

  it.each([
    ['symbol properties', (object: object) => Object.assign(object, { [Symbol('user')]: 'alice' })],
    [
      'non-enumerable properties',
      (object: object) => Object.defineProperty(object, 'user', { value: 'alice' }),
    ],
  ])('shares hidden classes when the application starts to add %s', async (_, add) => {
    let packets = 0
    const { shared } = hiddenClasses(
      await exchanges(
        (upload) =>
          express()
            .use((request, response, next) => {
              packets += 1
              if (packets > PacketsBeforeProperties) {
                add(request)
                add(response)
              }
              next()
            })
            .use('/upload', upload),
        ManyRounds,
      ),
    )
    if (!isFixedInV8) expect(shared).toEqual(all)
  })

  it('shares hidden classes in Express 4, with requests in dictionary mode (own query)', async () => {
    const { shared, dictionaries } = hiddenClasses(
      await exchanges((upload) => express4().use('/upload', upload) as unknown as RequestListener),
    )
    if (!isFixedInV8) expect(shared).toEqual(all)
    expect(dictionaries).toEqual([!isFixedInV8, !isFixedInV8, false, false])
  })

  it('does not use dictionary mode when the prototypes are those of Node', async () => {
    const { dictionaries } = hiddenClasses(
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
    expect(keys).toEqual([false, 'its own', false, 'its own', !isFixedInV8, 'its own'])
  })
})
