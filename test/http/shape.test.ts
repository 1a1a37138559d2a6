import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { setFlagsFromString } from 'node:v8'
import express from 'express'
import { beforeAll, describe, expect, it } from 'vitest'
import { bitsUpload, memoryStore } from '../../lib/index.ts'
import { send } from '../support/client.ts'
import { serve } from '../support/server.ts'

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

/** Two packets that are answered at the same time. */
async function exchanges(mount: (upload: ReturnType<typeof bitsUpload>) => RequestListener) {
  const seen: Exchange[] = []
  let go = (): void => {}
  const both = new Promise<void>((resolve) => {
    go = resolve
  })
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
  const acks = await Promise.all([1, 2].map(() => send(new URL('/upload/file', url), 'Ping')))
  expect(acks.map(({ status }) => status)).toEqual([200, 200])
  return seen as [Exchange, Exchange]
}

describe('shareShape()', () => {
  it('lets requests and responses of Express share their hidden classes, where V8 does not', async () => {
    const [one, other] = await exchanges((upload) => express().use('/upload', upload))
    const all = [one.request, other.request, one.response, other.response]
    expect(all.map(isDictionary)).toEqual(all.map(() => !isMended))
    if (isMended) return
    expect(haveSameClass(one.request, other.request)).toBe(true)
    expect(haveSameClass(one.response, other.response)).toBe(true)
  })

  it('leaves those alone that have the prototype that Node gave them', async () => {
    const [{ request, response }] = await exchanges((upload) => (request, response) => {
      upload(request, response, () => response.end())
    })
    expect([request, response].map(isDictionary)).toEqual([false, false])
  })
})
