import { once } from 'node:events'
import { Socket } from 'node:net'
import { describe, expect, it, vi } from 'vitest'
import {
  BitsError,
  type BitsUploadEvents,
  type NotificationOptions,
  notifyApplication,
} from '../../lib/index.ts'
import { noise } from '../support/bytes.ts'
import { begin, TestClient } from '../support/client.ts'
import { type UploadServer, uploadServer } from '../support/server.ts'
import { application } from '../wire/application.ts'
import { code, readPage, rows } from './page.ts'

const { section } = readPage('examples/hooks/README.md')

/** The rows of a table, by the first cell of its header. */
const table = (heading: string, first: string): string[][] => {
  const text = section(heading)
  const begin = text.indexOf(`| ${first} `)
  expect(begin, first).toBeGreaterThan(-1)
  return rows(text.slice(begin).split('\n\n')[0] ?? '')
}

/** The text of the error that a call throws. */
function errorOf(call: () => unknown): string {
  try {
    call()
  } catch (error) {
    return String(error)
  }
  throw new Error('The call did not throw')
}

/** All code spans of a cell. */
const codes = (cell = ''): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text)

describe('the guide to hooks', () => {
  it('states the status for each result of authorize', async () => {
    const values: Record<string, unknown> = {
      "'alice'": 'alice',
      undefined,
      true: true,
      false: false,
      null: null,
      "''": '',
    }
    let returned: unknown
    const { url } = await uploadServer({ authorize: () => returned as string })
    const client = new TestClient(new URL('a.bin', url))
    const listed = table('authorize', '`authorize` returns')
    expect(listed.flatMap(([value]) => codes(value)).sort()).toEqual(Object.keys(values).sort())
    for (const [cell, status] of listed) {
      for (const value of codes(cell)) {
        returned = values[value]
        expect([value, (await client.ping()).status]).toEqual([value, Number(status)])
      }
    }
  })

  it('lists every member of the result of onCreate', async () => {
    const { url, upload } = await uploadServer({
      onCreate: () => ({ 'no such member': 1 }) as object,
    })
    const failed: string[] = []
    upload.events.on('failed', ({ error }) => failed.push(error.message))
    await new TestClient(new URL('a.bin', url)).create()
    const [, known = ''] = /are (\w+(?:, \w+)+)/.exec(failed.join()) ?? []
    expect(table('onCreate', 'Member').map(([name]) => code(name))).toEqual(known.split(', '))
  })

  it('names error codes that exist', () => {
    const codesOf = (text: string) => [...text.matchAll(/`([a-z]+(?:-[a-z]+)+)`/g)].map(([, name]) => name)
    const named = codesOf(section('Hooks, replies and events'))
    expect(named).toEqual(expect.arrayContaining(['access-denied', 'hook-failed', 'application-refused']))
    const known = errorOf(() => new BitsError('' as 'timeout'))
    for (const name of named) expect(known).toContain(`${name},`)
  })
})

describe('the table of the options of notifyApplication', () => {
  const listed = table('Server applications', 'Option')
  const cellOf = (name: string, column: number) => listed.find(([option]) => code(option) === name)?.[column]
  const url = 'http://127.0.0.1/'

  it('lists every option', () => {
    const text = errorOf(() => notifyApplication({ 'no such option': 1 } as never))
    const [, known = ''] = /the options are (.*)/.exec(text) ?? []
    expect(listed.map(([name]) => code(name))).toEqual(known.split(', '))
  })

  it('says which options are required', () => {
    const all: Record<string, unknown> = { url, mode: 'value', timeout: 1000 }
    for (const name of Object.keys(all)) {
      const call = () => notifyApplication({ ...all, [name]: undefined } as unknown as NotificationOptions)
      if (cellOf(name, 2) === 'required') expect(call).toThrow(`'${name}'`)
      else expect(call).not.toThrow()
    }
  })

  it('lists every mode', () => {
    const modes = codes(cellOf('mode', 1))
    const [, known = ''] =
      /takes (.*?),? (?:not|but)\b/.exec(
        errorOf(() => notifyApplication({ url, mode: 'no such mode' as 'value' })),
      ) ?? []
    expect(modes).toEqual(["'reference'", "'value'"])
    expect(known.match(/'\w+'/g)).toEqual(modes)
  })

  it('states the default of timeout', async () => {
    expect(cellOf('timeout', 2)).toBe('5 minutes')
    const setTimeout = vi.spyOn(Socket.prototype, 'setTimeout')
    const { url: applicationUrl } = await application()
    const server = await uploadServer({
      onUpload: notifyApplication({ url: applicationUrl, mode: 'value' }),
    })
    await send(server, 'a.bin')
    expect(setTimeout.mock.calls.map(([ms]) => ms)).toContain(5 * 60_000)
    setTimeout.mockRestore()
  })
})

describe('the table of events', () => {
  const listed = table('Events', 'Event')

  it('lists the events of the types, each of which is emitted', async () => {
    // The compiler checks that this list is complete.
    const events = {
      created: true,
      received: true,
      interrupted: true,
      uploaded: true,
      closed: true,
      cancelled: true,
      expired: true,
      refused: true,
      failed: true,
    } satisfies Record<keyof BitsUploadEvents, true>
    expect(listed.map(([name]) => code(name))).toEqual(Object.keys(events))

    let enabled = true
    const server = await uploadServer({
      enabled: () => enabled,
      authorize: () => 'alice',
      onCreate: ({ name }) => {
        if (name === 'failing.bin') throw new Error('not today')
        return { metadata: { name } }
      },
    })
    const reports = new Map<string, object>()
    for (const event of Object.keys(events) as (keyof BitsUploadEvents)[]) {
      server.upload.events.on(event as 'created', (report) => reports.set(event, report))
    }
    await send(server, 'a.bin')
    await send(server, 'a.bin') // refused, because the file exists
    await send(server, 'failing.bin')
    const client = new TestClient(new URL('b.bin', server.url))
    await client.create()
    await client.cancel()
    await client.create()
    const fragment = begin(client.url, 'Fragment', {
      headers: { ...client.range(0, 2000, 2000), Expect: '100-continue' },
    })
    fragment.on('error', () => {})
    fragment.flushHeaders()
    await once(fragment, 'continue')
    const interrupted = once(server.upload.events, 'interrupted')
    fragment.write(noise(1000), () => fragment.destroy())
    await interrupted
    enabled = false
    await server.upload.sweep()

    expect([...reports.keys()].sort()).toEqual(Object.keys(events).sort())
    const upload = codes(section('Events').match(/An upload is (`[^`]*`)/)?.[1])[0] ?? ''
    const members = upload.match(/\w+/g) ?? []
    for (const [name, , contains] of listed) {
      const expected = [...(contains?.startsWith('the upload') ? members : []), ...codes(contains)].sort()
      const emitted = Object.keys(reports.get(code(name)) ?? {}).sort()
      // The size is unknown before the first fragment.
      const known = ['created', 'cancelled'].includes(code(name)) ? without(expected, 'total') : expected
      expect([name, emitted]).toEqual([name, known])
    }
  })
})

const without = (names: string[], name: string): string[] => names.filter((each) => each !== name)

/** Uploads a file in one fragment, as far as the server accepts it. */
async function send({ url }: UploadServer, name: string): Promise<void> {
  const client = new TestClient(new URL(name, url))
  if ((await client.create()).status !== 200) return
  await client.fragment(0, noise(1000), 1000)
  await client.close()
}
